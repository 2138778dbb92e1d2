package gateway

// MakeCertificate is for tests outside of the package.
var MakeCertificate = makeCertificate
