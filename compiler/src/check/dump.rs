//! `--emit hir`: the checked program as text, one line per declaration, layer or statement.

use std::fmt::Write;

use super::expressions::shape_of;
use super::hir::*;

/// Prints a checked program.
pub fn run(program: &Program) -> String {
    let mut out = Dump { out: String::new(), program, body: None };
    out.env(&program.env);
    for net in &program.nets {
        out.net(net);
    }
    match &program.task {
        Task::Train(train) => out.train(train),
        Task::Serve(serve) => {
            let line = format!("serve {} batch {}", out.expr(&serve.expr), serve.batch);
            out.line(0, &line);
        }
    }
    let s = &program.secure;
    let line = format!(
        "secure {:?} bits {} refresh {:?} client {:?} precision {} quantize w{} a{} policy {:?}",
        s.scheme, s.bits, s.refresh, s.client, s.precision, s.quantize.0, s.quantize.1, s.policy
    );
    out.line(0, &line);
    out.out
}

struct Dump<'a> {
    out: String,
    program: &'a Program,
    body: Option<&'a Body>,
}

fn hidden(secret: bool) -> &'static str {
    if secret { "secret" } else { "public" }
}

fn ranges(list: &[Range]) -> String {
    let same = list.windows(2).all(|pair| pair[0] == pair[1]);
    let shown = if same { &list[..list.len().min(1)] } else { list };
    shown.iter().map(|r| format!("[{}, {}]", r.low, r.high)).collect::<Vec<_>>().join(" ")
}

impl<'a> Dump<'a> {
    fn line(&mut self, indent: usize, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{:indent$}{text}", "", indent = indent * 2);
    }

    fn env(&mut self, env: &Env) {
        self.line(0, &format!("env {:?}", env.id));
        for o in &env.observations {
            self.line(1, &format!("observe {}: {:?} in {}", o.name, o.shape, ranges(&o.ranges)));
        }
        let action = match &env.action.kind {
            ActionKind::Discrete { k } => format!("one of {k}"),
            ActionKind::MultiDiscrete { n, k } => format!("[{n}] one of {k}"),
            ActionKind::Continuous { shape, ranges: r } => format!("{shape:?} in {}", ranges(r)),
        };
        self.line(1, &format!("act {}: {action}", env.action.name));
        let declared = ranges(&[env.declared_reward_range]);
        self.line(1, &format!("reward {} in {} declared {declared}", env.reward, ranges(&[env.reward_range])));
        if let Some(recode) = &env.recode {
            let text = format!("recode {} <- {}", env.reward, self.expr(recode));
            self.line(1, &text);
        }
        for f in &env.features {
            let text = format!("feature {}: [{}] = {}", f.name, f.dim, self.expr(&f.expr));
            self.line(1, &text);
        }
    }

    fn net(&mut self, net: &Net) {
        let inputs: Vec<String> = net.inputs.iter().map(|i| format!("{}: {:?}", i.name, i.shape)).collect();
        self.line(0, &format!("net {}({}) {}", net.name, inputs.join(", "), hidden(net.secret)));
        self.layers(1, &net.layers);
        for head in &net.outputs {
            self.line(1, &format!("output {}: {:?}", head.name.as_deref().unwrap_or("-"), head.shape));
            self.layers(2, &head.layers);
        }
    }

    fn layers(&mut self, indent: usize, layers: &[Layer]) {
        for layer in layers {
            let text = match &layer.kind {
                LayerKind::Dense { index, inputs, outputs, bias, init } => {
                    format!("dense {index}: {inputs} -> {outputs} bias {bias} init {init:?}")
                }
                LayerKind::Conv { index, inputs, outputs, kernel, stride, bias, init } => {
                    format!("conv {index}: {inputs} -> {outputs} kernel {kernel} stride {stride} bias {bias} init {init:?}")
                }
                LayerKind::Flatten => "flatten".into(),
                LayerKind::Activation(a) => activation(a),
                LayerKind::Scale(c) => format!("scale {c}"),
                LayerKind::Residual(inner) => {
                    self.line(indent, &format!("residual {:?}", layer.shape));
                    self.layers(indent + 1, inner);
                    continue;
                }
            };
            self.line(indent, &format!("{text} {:?}", layer.shape));
        }
    }

    fn train(&mut self, train: &'a Train) {
        let Settings {
            batch,
            updates,
            warmup,
            capacity,
            envs,
            every,
            collect,
            n_step,
            discount,
            average,
            range_penalty,
            seed,
            evaluate,
            checkpoint,
            explore,
            out_of_range,
        } = &train.settings;
        self.line(
            0,
            &format!(
                "train {} batch {batch} updates {updates} warmup {warmup} capacity {capacity} envs {envs} every {every}",
                train.algorithm
            ),
        );
        self.line(1, &format!("collect {collect:?} n_step {n_step} discount {discount:?} average {average:?} seed {seed}"));
        self.line(1, &format!("evaluate {evaluate} checkpoint {checkpoint} explore {explore:?}"));
        if *range_penalty > 0.0 {
            self.line(1, &format!("range_penalty {range_penalty}"));
        }
        if *out_of_range != hecc_plan::Escape::Warn {
            self.line(1, &format!("out_of_range {out_of_range:?}"));
        }
        self.body = Some(&train.body);
        for state in &train.body.states {
            let kind = match state.kind {
                StateKind::Copy(net) => format!("copy({})", self.program.nets[net.0].name),
                StateKind::Fresh(net) => self.program.nets[net.0].name.clone(),
                StateKind::Scalar(x) => x.to_string(),
            };
            self.line(1, &format!("state {} = {kind}", state.name));
        }
        for noise in &train.body.noises {
            self.line(1, &format!("noise {}: [{}]", noise.name, noise.dim));
        }
        self.statements(1, &train.body.statements);
        self.body = None;
    }

    fn statements(&mut self, indent: usize, list: &'a [Stmt]) {
        for stmt in list {
            let text = match stmt {
                Stmt::Let(id) => {
                    let Some(bound) = self.body.and_then(|body| body.lets.get(id.0)) else { continue };
                    let e = &bound.expr;
                    format!("let {}: {} {} = {}", bound.name, shape_of(&e.ty), hidden(e.secret), self.expr(e))
                }
                Stmt::Minimize { loss, over, optimizer, span: _ } => {
                    let over: Vec<String> = over.iter().map(|one| self.trained(*one)).collect();
                    let Optimizer { kind, lr, tracking, span: _ } = optimizer;
                    let pinned = if *tracking == Tracking::default() { String::new() } else { format!(" {tracking:?}") };
                    format!("minimize {} over {} with {kind:?} lr {lr:?}{pinned}", self.expr(loss), over.join(", "))
                }
                Stmt::Assign { state, value, span: _ } => {
                    let value = match value {
                        StateExpr::Networks(terms) => {
                            let terms: Vec<String> = terms.iter().map(|(c, net)| format!("{c} {}", self.reference(*net))).collect();
                            terms.join(" + ")
                        }
                        StateExpr::Scalar(e) => self.expr(e),
                    };
                    format!("{} <- {value}", self.state(*state))
                }
                Stmt::Reveal { value, label, span: _ } => format!("reveal {} as {label:?}", self.expr(value)),
                Stmt::Every { period, body, span: _ } => {
                    self.line(indent, &format!("every {period}"));
                    self.statements(indent + 1, body);
                    continue;
                }
            };
            self.line(indent, &text);
        }
    }

    fn trained(&self, trained: Trained) -> String {
        match trained {
            Trained::Net(id) => self.program.nets[id.0].name.clone(),
            Trained::State(id) => self.state(id),
        }
    }

    fn state(&self, id: StateId) -> String {
        self.body.and_then(|body| body.states.get(id.0)).map_or_else(|| format!("state{}", id.0), |state| state.name.clone())
    }

    fn reference(&self, net: NetRef) -> String {
        match net {
            NetRef::Net(id) => self.program.nets[id.0].name.clone(),
            NetRef::Old(id) => format!("old({})", self.program.nets[id.0].name),
            NetRef::State(id) => self.state(id),
        }
    }

    fn value(&self, value: Value) -> String {
        let twin = |next| if next { "'" } else { "" };
        let env = &self.program.env;
        match value {
            Value::Observation { index, next } => format!("{}{}", env.observations[index].name, twin(next)),
            Value::Feature { index, next } => format!("{}{}", env.features[index].name, twin(next)),
            Value::Action => env.action.name.clone(),
            Value::Reward => env.reward.clone(),
            Value::Done => "done".into(),
            Value::Let(id) => self.body.and_then(|b| b.lets.get(id.0)).map_or_else(|| format!("let{}", id.0), |l| l.name.clone()),
            Value::Noise(id) => self.body.and_then(|b| b.noises.get(id.0)).map_or_else(|| format!("noise{}", id.0), |n| n.name.clone()),
            Value::State(id) => self.state(id),
        }
    }

    fn list(&self, list: &[&Expr]) -> String {
        list.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&self, e: &Expr) -> String {
        match &e.kind {
            ExprKind::Number(x) => x.to_string(),
            ExprKind::Value(value) => self.value(*value),
            ExprKind::Apply { net, args } => format!("{}({})", self.reference(*net), self.list(&args.iter().collect::<Vec<_>>())),
            ExprKind::Project(of, i) => format!("{}.{i}", self.expr(of)),
            ExprKind::Index(of, i) => format!("{}[{i}]", self.expr(of)),
            ExprKind::Binary(op, a, b) => {
                let op = match op {
                    Binary::Add => "+",
                    Binary::Sub => "-",
                    Binary::Mul => "*",
                    Binary::Div => "/",
                };
                format!("({} {op} {})", self.expr(a), self.expr(b))
            }
            ExprKind::Neg(x) => format!("-{}", self.expr(x)),
            ExprKind::Pow(x, n) => format!("{}^{n}", self.expr(x)),
            ExprKind::Map(a, x) => format!("{}({})", activation(a), self.expr(x)),
            ExprKind::Reduce(reduce, x) => {
                let name = match reduce {
                    Reduce::SumElements => "sum_elements".to_string(),
                    Reduce::MeanElements => "mean_elements".to_string(),
                    Reduce::SumBatch => "sum_batch".to_string(),
                    Reduce::MeanBatch => "mean_batch".to_string(),
                    Reduce::Max(p) => format!("max{}", pins(p)),
                };
                format!("{name}({})", self.expr(x))
            }
            ExprKind::Extremum(which, p, a, b) => {
                let name = match which {
                    Extremum::Min => "min",
                    Extremum::Max => "max",
                };
                format!("{name}{}({})", pins(p), self.list(&[a, b]))
            }
            ExprKind::ArgMax(x) => format!("argmax({})", self.expr(x)),
            ExprKind::Dot(a, b) => format!("dot({})", self.list(&[a, b])),
            ExprKind::Clip(x, low, high) => format!("clip({}, {low}, {high})", self.expr(x)),
            ExprKind::Select(c, a, b) => format!("select({})", self.list(&[c, a, b])),
            ExprKind::Stop(x) => format!("stop({})", self.expr(x)),
            ExprKind::Concat(list) => format!("concat({})", self.list(&list.iter().collect::<Vec<_>>())),
            ExprKind::Sample { mu, log_std, noise, pins: p } => format!("sample{}({})", pins(p), self.list(&[mu, log_std, noise])),
            ExprKind::Fourier { x, n, scale, seed } => format!("fourier({}, {n}, {scale}, {seed})", self.expr(x)),
            ExprKind::TensorFourier { angle, k, x, j, smooth } => {
                format!("tensor_fourier({}, {k}, {}, {j}, {smooth})", self.expr(angle), self.expr(x))
            }
            ExprKind::Atan2(y, x) => format!("atan2({})", self.list(&[y, x])),
            ExprKind::Outer(a, b) => format!("outer({})", self.list(&[a, b])),
        }
    }
}

fn pins(pins: &Pins) -> String {
    let mut list = Vec::new();
    list.extend(pins.degree.map(|degree| format!("degree {degree}")));
    list.extend(pins.range.map(|r| format!("range [{}, {}]", r.low, r.high)));
    if list.is_empty() { String::new() } else { format!("<{}>", list.join(", ")) }
}

fn activation(a: &Activation) -> String {
    let name = match &a.function {
        Function::Poly(c) => format!("poly{c:?}"),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{name}{}", pins(&a.pins))
}
