// Package proto is the module of Joinery's wire contract; the messages are in joinery/v1.
package proto
