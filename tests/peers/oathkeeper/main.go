// Ory Oathkeeper, a dependency of this module, because `go install` refuses one whose go.mod has a replace line.
package main

import "github.com/ory/oathkeeper/cmd"

func main() {
	cmd.Execute()
}
