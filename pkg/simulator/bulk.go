package simulator

import (
	"net/http"

	"github.com/joinery/joinery/pkg/scim"
)

// bulk does what a bulk request holds (RFC 7644 section 3.7).
func (s *Server) bulk(a ask) reply {
	switch {
	case s.options.Bulk == 0:
		return failure(http.StatusNotImplemented, "", "bulk requests are not supported")
	case a.method != http.MethodPost:
		return failure(http.StatusMethodNotAllowed, "", "a bulk request is a POST")
	case !scim.IsMediaType(a.contentType):
		return failure(http.StatusUnsupportedMediaType, "", "the Content-Type must be application/scim+json")
	}
	run, err := scim.ParseBulk(a.body, s.options.Bulk)
	if err != nil {
		return failed(err)
	}
	return reply{status: http.StatusOK, body: run.Run(func(op scim.BulkOperation) scim.BulkResult {
		p := s.route(ask{method: op.Method, path: op.Path, ifMatch: op.Version, body: op.Data})
		made, _ := p.body.(scim.Resource)
		return scim.BulkResult{
			Status: p.status, Location: p.header["Location"], Version: p.header["ETag"], Made: made.ID(), Refusal: p.body,
		}
	})}
}
