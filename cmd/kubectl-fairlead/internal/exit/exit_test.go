package exit

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestCode(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		said bool
	}{
		{nil, 0, false},
		{ErrWrong, 1, true},
		{fmt.Errorf("looking: %w", ErrWrong), 1, true},
		{ErrPartly, 2, true},
		{errors.New("no route to host"), 2, false},
		{fmt.Errorf("listing: %w", context.Canceled), 130, false},
	} {
		if code, said := Code(tt.err), Said(tt.err); code != tt.code || said != tt.said {
			t.Errorf("%v: code %d, said %v", tt.err, code, said)
		}
	}
}
