package joinery

import (
	"strings"

	"github.com/joinery/joinery/pkg/config"
	"github.com/spf13/cobra"
)

// schema prints the JSON Schema of the configuration.
func (t *terminal) schema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema [joinery|source|target]",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Prints the JSON Schema (draft 2020-12) of the configuration: of joinery.yaml, of
the files of sources/ or of targets/, or of all three. An editor with a YAML
language server completes and checks a file whose first line names it:

  # yaml-language-server: $schema=../target.schema.json

What only joinery validate can see, such as what an expression means, it
leaves open.`,
		Example: "  joinery schema target > target.schema.json",
		RunE: func(_ *cobra.Command, args []string) error {
			switch len(args) {
			case 0:
				_, err := t.out.Write(config.Schema())
				return err
			case 1:
				schema, ok := config.SchemaOf(args[0])
				if !ok {
					return usage("there is no schema of %q: name one of %s", args[0], strings.Join(config.Parts(), ", "))
				}
				_, err := t.out.Write(schema)
				return err
			default:
				return usage("schema takes one kind of file at most; see: joinery schema --help")
			}
		},
	}
}
