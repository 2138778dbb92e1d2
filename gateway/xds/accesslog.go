package xds

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	streamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// logged is what stands in a line: a name (in JSON) and Envoy's word for it.
type logged struct{ name, operator string }

var requestLog = []logged{
	{"time", "%START_TIME%"},
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
	{"time", "%START_TIME%"},
	{"client", "%DOWNSTREAM_REMOTE_ADDRESS%"},
	{"sni", "%REQUESTED_SERVER_NAME%"},
	{"flags", "%RESPONSE_FLAGS%"},
	{"received", "%BYTES_RECEIVED%"},
	{"sent", "%BYTES_SENT%"},
	{"duration", "%DURATION%"},
	{"backend", "%UPSTREAM_CLUSTER%"},
	{"endpoint", "%UPSTREAM_HOST%"},
}

func (e *encoder) accessLog(what []logged) []*accesslogv3.AccessLog {
	format := &corev3.SubstitutionFormatString{}
	switch e.settings.AccessLog {
	case AccessLogJSON:
		fields := map[string]*structpb.Value{}
		for _, l := range what {
			fields[l.name] = structpb.NewStringValue(l.operator)
		}
		format.Format = &corev3.SubstitutionFormatString_JsonFormat{JsonFormat: &structpb.Struct{Fields: fields}}
	case AccessLogText:
		line := ""
		for i, l := range what {
			if i > 0 {
				line += " "
			}
			line += l.name + "=" + l.operator
		}
		format.Format = &corev3.SubstitutionFormatString_TextFormatSource{
			TextFormatSource: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: line + "\n"}},
		}
	default:
		return nil
	}
	return []*accesslogv3.AccessLog{{
		Name: "envoy.access_loggers.stdout",
		ConfigType: &accesslogv3.AccessLog_TypedConfig{TypedConfig: pack(&streamv3.StdoutAccessLog{
			AccessLogFormat: &streamv3.StdoutAccessLog_LogFormat{LogFormat: format},
		})},
	}}
}
