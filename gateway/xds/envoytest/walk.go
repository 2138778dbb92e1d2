package envoytest

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Walk calls visit for every message in m, those that are packed into an Any
// too. What visit changes is kept.
func Walk(m proto.Message, visit func(proto.Message) error) error {
	if packed, ok := m.(*anypb.Any); ok {
		return walkPacked(packed, visit)
	}
	if err := visit(m); err != nil {
		return fmt.Errorf("%s: %w", m.ProtoReflect().Descriptor().Name(), err)
	}
	var failed error
	m.ProtoReflect().Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		failed = walkField(field, value, visit)
		return failed == nil
	})
	return failed
}

func walkPacked(packed *anypb.Any, visit func(proto.Message) error) error {
	m, err := packed.UnmarshalNew()
	if err != nil {
		return fmt.Errorf("%s: %w", packed.TypeUrl, err)
	}
	if err := Walk(m, visit); err != nil {
		return err
	}
	return packed.MarshalFrom(m)
}

func walkField(field protoreflect.FieldDescriptor, value protoreflect.Value, visit func(proto.Message) error) error {
	switch {
	case field.IsMap():
		if field.MapValue().Message() == nil {
			return nil
		}
		var failed error
		value.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
			failed = Walk(v.Message().Interface(), visit)
			return failed == nil
		})
		return failed
	case field.Message() == nil:
		return nil
	case field.IsList():
		for i := range value.List().Len() {
			if err := Walk(value.List().Get(i).Message().Interface(), visit); err != nil {
				return err
			}
		}
		return nil
	default:
		return Walk(value.Message().Interface(), visit)
	}
}
