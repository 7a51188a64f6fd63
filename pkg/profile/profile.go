// Package profile owns what is known of vendors' SCIM services: one file each,
// every knob with its source, loaded from the binary. It says how a service
// provider behaves; what to do about it is the client's business.
package profile
