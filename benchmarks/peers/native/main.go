// A native server of one ONNX model of numbers, on one core: the limit of what such a service can be.
//
//	native PORT MODEL.ONNX LIBONNXRUNTIME FORM WIDTH
//
// It checks what the prediction service checks of numbers (their count in each row, and that they are finite), and
// says in headers who answered, under which id; it has no other protocol, format, limit, metric or log.
package main

import (
	"fmt"
	"log"
	"math"
	"os"
	"runtime"
	"strconv"
	"sync"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"
	ort "github.com/yalue/onnxruntime_go"
)

type number interface{ float32 | float64 }

// One request at a time is answered, as in a worker. It takes a lock: while ONNX Runtime computes, which is C, and in a handler
// of over 10 ms Go goes on with the next request, on one core too.
type server[N number] struct {
	turn    sync.Mutex
	session *ort.DynamicAdvancedSession
	width   int
	parser  fastjson.Parser
	values  []N
	count   uint64
}

func main() {
	runtime.GOMAXPROCS(1)
	port, model, library, form := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	width, err := strconv.Atoi(os.Args[5])
	must(err)
	ort.SetSharedLibraryPath(library)
	must(ort.InitializeEnvironment())
	options, err := ort.NewSessionOptions()
	must(err)
	must(options.SetIntraOpNumThreads(1))
	_, outputs, err := ort.GetInputOutputInfo(model)
	must(err)
	session, err := ort.NewDynamicAdvancedSession(model, []string{"rows"}, []string{outputs[0].Name}, options)
	must(err)
	if form == "float32" {
		must(serve(port, &server[float32]{session: session, width: width}))
	} else {
		must(serve(port, &server[float64]{session: session, width: width}))
	}
}

func serve[N number](port string, s *server[N]) error {
	return (&fasthttp.Server{Handler: s.handle, NoDefaultServerHeader: true}).ListenAndServe("127.0.0.1:" + port)
}

func (s *server[N]) handle(ctx *fasthttp.RequestCtx) {
	if string(ctx.Path()) != "/invocations" {
		return // it is ready
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	s.count++
	ctx.Response.Header.Set("X-Request-ID", strconv.FormatUint(s.count, 10))
	ctx.Response.Header.Set("X-Model-Version", "1")
	ctx.SetContentType("application/json")
	rows, err := s.read(ctx.PostBody())
	if err != nil {
		ctx.Error(fmt.Sprintf(`{"error_code":"INVALID_PARAMETER_VALUE","message":%q}`, err), fasthttp.StatusBadRequest)
		return
	}
	body, err := s.predict(rows)
	if err != nil {
		ctx.Error(fmt.Sprintf(`{"error_code":"INTERNAL_ERROR","message":%q}`, err), fasthttp.StatusInternalServerError)
		return
	}
	ctx.SetBody(body)
}

func (s *server[N]) read(body []byte) (int, error) {
	content, err := s.parser.ParseBytes(body)
	if err != nil {
		return 0, err
	}
	rows := content.GetArray("instances")
	if len(rows) == 0 {
		return 0, fmt.Errorf("'instances' has no rows")
	}
	s.values = s.values[:0]
	for i, row := range rows {
		cells, err := row.Array()
		if err != nil || len(cells) != s.width {
			return 0, fmt.Errorf("instances[%d] is no list of %d values", i, s.width)
		}
		for j, cell := range cells {
			value, err := cell.Float64()
			if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
				return 0, fmt.Errorf("instances[%d][%d] is no number", i, j)
			}
			s.values = append(s.values, N(value))
		}
	}
	return len(rows), nil
}

func (s *server[N]) predict(rows int) ([]byte, error) {
	input, err := ort.NewTensor(ort.NewShape(int64(rows), int64(s.width)), s.values)
	if err != nil {
		return nil, err
	}
	defer input.Destroy()
	outputs := []ort.Value{nil}
	if err := s.session.Run([]ort.Value{input}, outputs); err != nil {
		return nil, err
	}
	defer outputs[0].Destroy()
	labels, is := outputs[0].(*ort.Tensor[int64])
	if !is {
		return nil, fmt.Errorf("its labels are no whole numbers")
	}
	body := append(make([]byte, 0, 20+3*rows), `{"predictions":[`...)
	for i, label := range labels.GetData() {
		if i > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendInt(body, label, 10)
	}
	return append(body, "]}"...), nil
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
