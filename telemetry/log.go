package telemetry

import (
	"fmt"
	"strings"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// LogLevel reads a --log-level: error, info or debug.
func LogLevel(s string) (zapcore.Level, error) {
	switch strings.ToLower(s) {
	case "error":
		return zapcore.ErrorLevel, nil
	case "info":
		return zapcore.InfoLevel, nil
	case "debug":
		return zapcore.DebugLevel, nil
	}
	return 0, fmt.Errorf("--log-level is %q: set it to error, info or debug", s)
}

// NewLogger makes a logger that writes JSON lines to the standard error.
func NewLogger(level string) (logr.Logger, error) {
	l, err := LogLevel(level)
	if err != nil {
		return logr.Logger{}, err
	}
	c := zap.NewProductionConfig()
	c.Level = zap.NewAtomicLevelAt(l)
	c.EncoderConfig.EncodeTime = zapcore.ISO8601TimeEncoder
	c.DisableStacktrace, c.DisableCaller = true, true
	z, err := c.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("setting up the log: %w", err)
	}
	return zapr.NewLogger(z), nil
}
