package config

// SCIM says how an identity provider meets the source as a SCIM 2.0 service
// provider.
type SCIM struct {
	PublicURL string `yaml:"public_url" doc:"What stands before /scim/v2/{source} where the identity provider calls it, as in https://joinery.example. Without it locations show what the request says, which behind a proxy is another."`
}

// check reports what the tags cannot say.
func (s *SCIM) check(d *decoder, path string) {
	d.webAddress(path+".public_url", s.PublicURL)
	if u, why := webURL(s.PublicURL); why == "" && u.RawQuery != "" {
		d.wrong(path+".public_url", "locations are made by adding to the URL: it has no query")
	}
}
