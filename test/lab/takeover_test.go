package lab

import "testing"

func TestAskingForATakeover(t *testing.T) {
	if got, want := string(asking("gateway/edge", "")), `{"metadata":{"annotations":{"fairlead.dev/takeover":"gateway/edge","fairlead.dev/handover":null}}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
