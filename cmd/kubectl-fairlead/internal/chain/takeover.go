package chain

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// takeover adds where a takeover stands that a holder has a part in.
func (r *Report) takeover(conditions []metav1.Condition) {
	c := meta.FindStatusCondition(conditions, tell.Condition)
	if c == nil {
		return
	}
	r.Asked = append(r.Asked, Asked{Value: "takeover", Origin: c.Reason, Note: c.Message})
	if tell.Refused(c) {
		r.wrong("The takeover is refused: "+c.Message, "")
	}
}
