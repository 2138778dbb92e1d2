package xds

import (
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	otelv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/open_telemetry/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// logged is what stands in a line: a name (in JSON) and Envoy's word for it.
type logged struct{ name, operator string }

// logTime is the name of when a request or a connection began.
const logTime = "time"

var requestLog = []logged{
	{logTime, "%START_TIME%"},
	{"client", "%DOWNSTREAM_REMOTE_ADDRESS%"},
	{"method", "%REQ(:METHOD)%"},
	{"host", "%REQ(:AUTHORITY)%"},
	{"path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"},
	{"protocol", "%PROTOCOL%"},
	{"code", "%RESPONSE_CODE%"},
	{"details", "%RESPONSE_CODE_DETAILS%"},
	{"flags", "%RESPONSE_FLAGS%"},
	{"received", "%BYTES_RECEIVED%"},
	{"sent", "%BYTES_SENT%"},
	{"duration", "%DURATION%"},
	{"route", "%ROUTE_NAME%"},
	{"backend", "%UPSTREAM_CLUSTER%"},
	{"endpoint", "%UPSTREAM_HOST%"},
	{"request", "%REQ(X-REQUEST-ID)%"},
}

var connectionLog = []logged{
	{logTime, "%START_TIME%"},
	{"client", "%DOWNSTREAM_REMOTE_ADDRESS%"},
	{"sni", "%REQUESTED_SERVER_NAME%"},
	{"flags", "%RESPONSE_FLAGS%"},
	{"received", "%BYTES_RECEIVED%"},
	{"sent", "%BYTES_SENT%"},
	{"duration", "%DURATION%"},
	{"backend", "%UPSTREAM_CLUSTER%"},
	{"endpoint", "%UPSTREAM_HOST%"},
}

// accessLog writes a line to standard output, sends a record to a collector, or
// both, as the settings say.
func (e *encoder) accessLog(what []logged) []*accesslogv3.AccessLog {
	var out []*accesslogv3.AccessLog
	if format := e.lineOf(what); format != nil {
		out = append(out, accessLogger("envoy.access_loggers.stdout", &streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: format},
		}))
	}
	if c := e.settings.AccessLogCollector; c != "" {
		out = append(out, accessLogger("envoy.access_loggers.open_telemetry", &otelv3.OpenTelemetryAccessLogConfig{
			GrpcService: e.over(c), LogName: e.model.Gateway.String(), ResourceDetectors: e.resource(), Attributes: attributesOf(what),
		}))
	}
	return out
}

func accessLogger(name string, config proto.Message) *accesslogv3.AccessLog {
	return &accesslogv3.AccessLog{Name: name, ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(config)}}
}

// attributesOf are the fields of a record. The time is the record's own.
func attributesOf(what []logged) *commonv1.KeyValueList {
	out := &commonv1.KeyValueList{}
	for _, l := range what {
		if l.name != logTime {
			out.Values = append(out.Values, &commonv1.KeyValue{Key: l.name, Value: &commonv1.AnyValue{Value: &commonv1.AnyValue_StringValue{StringValue: l.operator}}})
		}
	}
	return out
}

// lineOf is the format of a line on standard output; nil: there is none.
func (e *encoder) lineOf(what []logged) *corev3.SubstitutionFormatString {
	switch e.settings.AccessLog {
	case AccessLogJSON:
		fields := map[string]*structpb.Value{}
		for _, l := range what {
			fields[l.name] = structpb.NewStringValue(l.operator)
		}
		return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}}}
	case AccessLogText:
		words := make([]string, len(what))
		for i, l := range what {
			words[i] = l.name + "=" + l.operator
		}
		return &corev3.SubstitutionFormatString{Format: &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: strings.Join(words, " ") + "\n"}},
		}}
	case AccessLogNone:
	}
	return nil
}
