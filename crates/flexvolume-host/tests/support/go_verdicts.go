// Records what Go's encoding/json says of replies, for tests/go-verdicts.jsonl. Standard input has one reply a line, in
// base64; any "input" of an earlier recording will do:
//
//	jq -r .input tests/go-verdicts.jsonl | go run tests/support/go_verdicts.go | sort
//
// The two types have the fields and tags of Kubernetes v1.37 pkg/volume/flexvolume/driver-call.go.
package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
)

type DriverStatus struct {
	Status           string              `json:"status"`
	Message          string              `json:"message,omitempty"`
	DevicePath       string              `json:"device,omitempty"`
	VolumeName       string              `json:"volumeName,omitempty"`
	Attached         bool                `json:"attached,omitempty"`
	Capabilities     *DriverCapabilities `json:",omitempty"`
	ActualVolumeSize int64               `json:"volumeNewSize,omitempty"`
}

type DriverCapabilities struct {
	Attach           bool `json:"attach"`
	SELinuxRelabel   bool `json:"selinuxRelabel"`
	SupportsMetrics  bool `json:"supportsMetrics"`
	FSGroup          bool `json:"fsGroup"`
	RequiresFSResize bool `json:"requiresFSResize"`
}

func verdict(input string) map[string]any {
	reply, err := base64.StdEncoding.DecodeString(input)
	if err != nil {
		log.Fatalf("%q is not base64: %v", input, err)
	}
	status := DriverStatus{Capabilities: &DriverCapabilities{true, true, false, true, true}}
	if err := json.Unmarshal(reply, &status); err != nil {
		// There the types belong to package flexvolume.
		text := strings.ReplaceAll(err.Error(), "main.Driver", "flexvolume.Driver")
		return map[string]any{"input": input, "error": text}
	}
	var flags []bool
	if c := status.Capabilities; c != nil {
		flags = []bool{c.Attach, c.SELinuxRelabel, c.SupportsMetrics, c.FSGroup, c.RequiresFSResize}
	}
	return map[string]any{"input": input, "value": map[string]any{
		"status": status.Status, "message": status.Message, "device": status.DevicePath,
		"volumeName": status.VolumeName, "attached": status.Attached, "capabilities": flags,
		"volumeNewSize": status.ActualVolumeSize,
	}}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		line, err := json.Marshal(verdict(lines.Text()))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(line))
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
