// The price oracle of TIP-0042 in Go: fetches the price of ETH on its schedule, keeps the last prices, publishes the
// newest on chain, and answers requests for it. It keeps the contract of docs/examples/oracle.
package main

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"

	"agent/daee"
)

const (
	source   = "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd"
	topic    = "price-eth-usd"
	decimals = 8
	// Most digits before the point, so that a price fits into 64 bits.
	wholeDigitsMax = 10
	// Most prices that are kept, the newest last.
	historyMax = 60
)

func init() { daee.Reactor(turn) }

func main() { daee.Resident(turn) }

func turn(event *daee.Event) error {
	switch event.Kind {
	case "start", "timer":
		return refresh()
	case "http":
		return answer(event)
	}
	return nil
}

// refresh fetches, keeps and publishes the price. A source that fails leaves the old price with its time.
func refresh() error {
	units, err := fetch()
	if err != nil {
		daee.Log("warn", "no new price: "+err.Error())
		return nil
	}
	history, err := load("history", "[]")
	if err != nil {
		return err
	}
	price := shown(units)
	quote := daee.Head{}.Number("at_ms", daee.Now()).Text("price", price).End()
	quotes := append(quotesOf(history), quote)
	quotes = quotes[max(0, len(quotes)-historyMax):]
	newest := daee.Head{}.Number("count", uint64(len(quotes))).Raw("quote", quote).End()
	if err := daee.Set("history", []byte("["+strings.Join(quotes, ",")+"]")); err != nil {
		return err
	}
	if err := daee.Set("newest", []byte(newest)); err != nil {
		return err
	}
	daee.Log("info", "ETH/USD "+price)
	// What a contract reads: `abi.decode(data, (uint256))`, with 8 decimals.
	word := binary.BigEndian.AppendUint64(make([]byte, 24), units)
	err = daee.Publish(topic, word)
	if daee.Is(err, daee.Limit) {
		// The chain takes nothing for now. Who asks here should have the price all the same.
		daee.Log("warn", "not published: "+err.Error())
		return nil
	}
	return err
}

func fetch() (uint64, error) {
	fetched, err := daee.Fetch(daee.Request{URL: source})
	if err != nil {
		return 0, err
	}
	if fetched.Status/100 != 2 {
		return 0, errors.New("the source answers with status " + strconv.FormatUint(fetched.Status, 10))
	}
	parsed, ok := daee.Parse(string(fetched.Body))
	// As it was written: no float stands between the source and the chain.
	usd := parsed.Get("ethereum").Get("usd").Written
	if !ok || usd == "" {
		return 0, errors.New("the source answers with something else")
	}
	return readPrice(usd)
}

// readPrice reads a plain decimal number. What stands behind the eighth decimal is cut off: an oracle never says more
// than its source did.
func readPrice(text string) (uint64, error) {
	whole, part, point := strings.Cut(text, ".")
	isDigits := func(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }
	if !isDigits(whole) || point && !isDigits(part) {
		return 0, errors.New("not a plain decimal number")
	}
	if len(whole) > wholeDigitsMax {
		return 0, errors.New("too large for a price")
	}
	units, err := strconv.ParseUint(whole+(part + strings.Repeat("0", decimals))[:decimals], 10, 64)
	if err == nil && units == 0 {
		err = errors.New("a price of zero")
	}
	return units, err
}

func shown(units uint64) string {
	digits := strconv.FormatUint(units, 10)
	digits = strings.Repeat("0", max(0, decimals+1-len(digits))) + digits
	point := len(digits) - decimals
	return digits[:point] + "." + digits[point:]
}

// load reads JSON of the state, or this where there is none.
func load(key, otherwise string) (daee.JSON, error) {
	kept, err := daee.Get(key)
	if daee.Is(err, daee.NotFound) {
		kept, err = []byte(otherwise), nil
	}
	parsed, ok := daee.Parse(string(kept))
	if err == nil && !ok {
		err = errors.New("what is kept under " + key + " cannot be read")
	}
	return parsed, err
}

func quotesOf(history daee.JSON) []string {
	var quotes []string
	for _, quote := range history.Items {
		price, _ := quote.Get("price").Text()
		quotes = append(quotes, daee.Head{}.Number("at_ms", quote.Get("at_ms").Number()).Text("price", price).End())
	}
	return quotes
}

func answer(event *daee.Event) error {
	send := func(status uint64, head daee.Head) error {
		return daee.AnswerText(status, "application/json", head.End())
	}
	switch {
	case event.Path != "/price" && event.Path != "/history":
		return send(404, daee.Head{}.Text("error", "there is /price and /history"))
	case event.Method != "GET":
		return daee.Answer(405, []daee.Header{{"allow", "GET"}}, nil)
	case event.Path == "/history":
		history, err := load("history", "[]")
		if err != nil {
			return err
		}
		prices := "[" + strings.Join(quotesOf(history), ",") + "]"
		return send(200, daee.Head{}.Text("pair", "ETH/USD").Raw("prices", prices).Text("source", source))
	}
	newest, err := load("newest", "null")
	if err != nil {
		return err
	}
	quote := newest.Get("quote")
	price, ok := quote.Get("price").Text()
	if !ok {
		return send(503, daee.Head{}.Text("error", "there is no price yet"))
	}
	told := daee.Head{}.Number("at_ms", quote.Get("at_ms").Number()).Number("decimals", decimals)
	told = told.Number("history", newest.Get("count").Number()).Text("pair", "ETH/USD")
	return send(200, told.Text("price", price).Text("source", source))
}
