package event

// ParseRow reads one JSON object that is no event, such as a row of a snapshot,
// under the bounds and with the strictness of an event. It fails with a *Problem.
func ParseRow(data []byte) (map[string]any, error) {
	v, err := document(data)
	if err != nil {
		return nil, err
	}
	row, problem := object(v, "row")
	if problem != nil {
		return nil, problem
	}
	return row, nil
}
