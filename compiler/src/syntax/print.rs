//! `hecc fmt`: the one way to write a program. Formatting twice changes nothing; no comment is lost.

use hecc_plan::Span;

use super::ast::*;

const INDENT: &str = "    ";

/// Prints a program canonically. `source` is the text it was parsed from: blank lines and comments are kept by it.
pub fn run(program: &Program, source: &str) -> String {
    let mut printer = Printer { source, comments: &program.comments, next: 0, out: String::new(), indent: 0, last: 0 };
    for (index, item) in program.items.iter().enumerate() {
        if index > 0 {
            let both_use = matches!((&program.items[index - 1], item), (Item::Use(_), Item::Use(_)));
            printer.trailing(program.items[index - 1].span().end);
            if !both_use {
                printer.blank();
            }
        }
        printer.comments_before(item.span().start);
        printer.item(item);
    }
    if let Some(item) = program.items.last() {
        printer.trailing(item.span().end);
    }
    printer.comments_before(u32::MAX);
    printer.out
}

struct Printer<'a> {
    source: &'a str,
    comments: &'a [Comment],
    /// First comment not yet printed.
    next: usize,
    out: String,
    indent: usize,
    /// Source position up to which everything is printed.
    last: u32,
}

/// A line of a block: its columns, aligned with those of its neighbours, and where it stands.
struct Line<'a> {
    columns: Vec<String>,
    span: Span,
    block: Option<&'a dyn Fn(&mut Printer<'_>)>,
}

impl Printer<'_> {
    fn line(&mut self, text: &str) {
        for _ in 0..self.indent {
            self.out.push_str(INDENT);
        }
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn blank(&mut self) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") && !self.out.ends_with("{\n") {
            self.out.push('\n');
        }
    }

    /// Keeps one blank line where the source has at least one between the last thing printed and `start`.
    fn gap(&mut self, start: u32) {
        let between = self.source.get(self.last as usize..start as usize).unwrap_or("");
        if self.last > 0 && between.bytes().filter(|b| *b == b'\n').count() > 1 {
            self.blank();
        }
    }

    /// Comments that stand before a source position, each on a line of its own.
    fn comments_before(&mut self, start: u32) {
        while let Some(comment) = self.comments.get(self.next).filter(|c| c.span.start < start) {
            self.gap(comment.span.start);
            self.line(&comment.text);
            self.last = self.last.max(comment.span.end);
            self.next += 1;
        }
        if start != u32::MAX {
            self.gap(start);
        }
    }

    /// The comment on the line where a thing ends, put behind the line just printed.
    fn trailing(&mut self, end: u32) {
        self.last = self.last.max(end);
        let Some(comment) = self.comments.get(self.next) else { return };
        let Some(between) = self.source.get(end as usize..comment.span.start as usize) else { return };
        if between.trim_matches([' ', '\t', ',']).is_empty() && self.out.ends_with('\n') {
            self.out.pop();
            self.out.push_str("  ");
            self.out.push_str(&comment.text);
            self.out.push('\n');
            self.last = comment.span.end;
            self.next += 1;
        }
    }

    fn has_comment(&self, span: Span) -> bool {
        self.comments.iter().any(|c| span.start <= c.span.start && c.span.end <= span.end)
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Use(x) => {
                let paths: Vec<&str> = x.paths.iter().map(|p| p.text.as_str()).collect();
                self.line(&format!("use {}", paths.join(", ")));
            }
            Item::Env(x) => {
                let open = format!("env \"{}\"", x.id.text);
                self.block(&open, x.span, x.id.span.end, |p| p.env_lines(&x.lines));
            }
            Item::Net(x) => {
                let inputs: Vec<String> = x
                    .inputs
                    .iter()
                    .map(|i| i.shape.as_ref().map_or(i.name.text.clone(), |s| format!("{}: {}", i.name.text, shape(s))))
                    .collect();
                let (output, end) = match &x.output {
                    Output::Single(s) => (shape(s), s.span.end),
                    Output::Named(heads) => {
                        let heads_text: Vec<String> = heads.iter().map(|(name, s)| format!("{}: {}", name.text, shape(s))).collect();
                        (format!("({})", heads_text.join(", ")), heads.last().map_or(x.span.start, |(_, s)| s.span.end))
                    }
                };
                let open = format!("net {}({}) -> {output}", x.name.text, inputs.join(", "));
                self.block(&open, x.span, end, |p| p.layers(&x.layers));
            }
            Item::Algorithm(x) => {
                let open = format!("algorithm {}({})", x.name.text, joined(&x.nets));
                self.block(&open, x.span, x.nets.last().map_or(x.name.span.end, |n| n.span.end), |p| {
                    p.statements(&x.body);
                });
            }
            Item::Train(x) => {
                let open = format!("train {}({})", x.algorithm.text, joined(&x.nets));
                self.block(&open, x.span, x.nets.last().map_or(x.algorithm.span.end, |n| n.span.end), |p| {
                    p.settings(&x.settings);
                });
            }
            Item::Serve(x) => {
                let open = format!("serve {}", expr(&x.expr));
                if x.settings.is_empty() && !self.has_comment(x.span) {
                    self.line(&open);
                } else {
                    self.block(&open, x.span, x.expr.span.end, |p| p.settings(&x.settings));
                }
            }
            Item::Secure(x) => {
                let open = format!("secure {}", x.scheme.text);
                self.block(&open, x.span, x.scheme.span.end, |p| p.settings(&x.settings));
            }
        }
        self.last = self.last.max(item.span().end);
    }

    /// `open {`, the lines of `body` indented, `}`; `head_end` is where the part before the brace ends.
    fn block(&mut self, open: &str, span: Span, head_end: u32, body: impl FnOnce(&mut Self)) {
        self.line(&format!("{open} {{"));
        let brace = self.source.get(head_end as usize..span.end as usize).and_then(|rest| rest.find('{'));
        self.trailing(brace.map_or(head_end, |at| head_end + at as u32 + 1));
        self.indent += 1;
        let printed = self.out.len();
        body(self);
        self.comments_before(span.end);
        while self.out.ends_with("\n\n") {
            self.out.pop();
        }
        self.indent -= 1;
        if self.out.len() == printed && self.out.ends_with("{\n") {
            self.out.pop();
            self.out.push_str("}\n");
        } else {
            self.line("}");
        }
        self.last = self.last.max(span.end);
    }

    /// Prints lines; those that follow one another without a gap or a block share their columns' widths.
    fn lines(&mut self, lines: &[Line<'_>]) {
        let mut start = 0;
        while start < lines.len() {
            let mut end = start + 1;
            while end < lines.len()
                && lines[end].columns.len() == lines[start].columns.len()
                && lines[end].block.is_none()
                && lines[start].block.is_none()
            {
                end += 1;
            }
            let group = &lines[start..end];
            let count = group[0].columns.len();
            let widths: Vec<usize> =
                (0..count).map(|column| group.iter().map(|line| line.columns[column].chars().count()).max().unwrap_or(0)).collect();
            for line in group {
                self.comments_before(line.span.start);
                match line.block {
                    Some(block) => block(self),
                    None => {
                        let padded: Vec<String> = line
                            .columns
                            .iter()
                            .zip(&widths)
                            .map(|(text, width)| format!("{text}{}", " ".repeat(width - text.chars().count())))
                            .collect();
                        self.line(&padded.join(" "));
                    }
                }
                // Comments inside what stands on one line now move in front of the next one.
                self.trailing(line.span.end);
            }
            start = end;
        }
    }

    fn env_lines(&mut self, lines: &[EnvLine]) {
        type Client<'c> = Box<dyn Fn(&mut Printer<'_>) + 'c>;
        let clients: Vec<Option<Client<'_>>> = lines
            .iter()
            .map(|line| match &line.kind {
                EnvLineKind::Client(body) => Some(Box::new(move |p: &mut Printer<'_>| p.client(body, line.span)) as Client<'_>),
                EnvLineKind::Observe { .. } | EnvLineKind::Act { .. } | EnvLineKind::Reward { .. } => None,
            })
            .collect();
        let lines: Vec<Line<'_>> = lines
            .iter()
            .zip(&clients)
            .map(|(line, client)| Line { columns: env_columns(line), span: line.span, block: client.as_deref() })
            .collect();
        self.lines(&lines);
    }

    fn client(&mut self, body: &[Stmt], span: Span) {
        if let ([one], false) = (body, self.has_comment(span)) {
            self.line(&format!("client {{ {} }}", statement(one)));
        } else {
            self.block("client", span, span.start, |p| p.statements(body));
        }
    }

    fn settings(&mut self, settings: &[Setting]) {
        let lines: Vec<Line<'_>> = settings
            .iter()
            .map(|setting| {
                let value = match &setting.value {
                    SettingValue::Expr(e) => expr(e),
                    SettingValue::Quantize { weights, activations, .. } => format!("w{weights} a{activations}"),
                };
                Line { columns: vec![setting.name.text.clone(), format!("= {value}")], span: setting.span, block: None }
            })
            .collect();
        self.lines(&lines);
    }

    fn layers(&mut self, layers: &[Layer]) {
        for layer in layers {
            self.comments_before(layer.span.start);
            match &layer.kind {
                LayerKind::Residual(inner) => {
                    if let ([one], false) = (inner.as_slice(), self.has_comment(layer.span))
                        && let Some(text) = layer_line(one)
                    {
                        self.line(&format!("residual {{ {text} }}"));
                    } else {
                        self.block("residual", layer.span, layer.span.start, |p| p.layers(inner));
                    }
                }
                LayerKind::Heads(heads) => self.block("heads", layer.span, layer.span.start, |p| {
                    for head in heads {
                        p.comments_before(head.span.start);
                        p.head(head);
                        p.trailing(head.span.end);
                    }
                }),
                LayerKind::Dense { .. } | LayerKind::Conv { .. } | LayerKind::Flatten | LayerKind::Activation(_) | LayerKind::Scale(_) => {
                    let text = layer_line(layer).unwrap_or_default();
                    self.line(&text);
                }
            }
            self.trailing(layer.span.end);
        }
    }

    fn head(&mut self, head: &Head) {
        if let ([one], false) = (head.layers.as_slice(), self.has_comment(head.span))
            && let Some(text) = layer_line(one)
        {
            self.line(&format!("{} {{ {text} }}", head.name.text));
        } else {
            self.block(&head.name.text, head.span, head.name.span.end, |p| p.layers(&head.layers));
        }
    }

    fn statements(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.comments_before(stmt.span.start);
            match &stmt.kind {
                StmtKind::Every { period, body } => {
                    self.block(&format!("every {}", expr(period)), stmt.span, period.span.end, |p| p.statements(body));
                }
                StmtKind::Parameter(_)
                | StmtKind::State { .. }
                | StmtKind::Noise { .. }
                | StmtKind::Let { .. }
                | StmtKind::Minimize { .. }
                | StmtKind::Assign { .. }
                | StmtKind::Reveal { .. } => self.line(&statement(stmt)),
            }
            self.trailing(stmt.span.end);
        }
    }
}

fn env_columns(line: &EnvLine) -> Vec<String> {
    match &line.kind {
        EnvLineKind::Observe { name, shape: s, ranges } => {
            vec!["observe".into(), format!("{}: {} in {}", name.text, shape(s), exprs(ranges))]
        }
        EnvLineKind::Act { name, shape: s, choice } => {
            let of = s.as_ref().map_or(String::new(), |s| format!("{} ", shape(s)));
            let choice = match choice {
                Choice::OneOf(k) => format!("{of}one of {}", k.text),
                Choice::In(ranges) => format!("{of}in {}", exprs(ranges)),
            };
            vec!["act".into(), format!("{}: {choice}", name.text)]
        }
        EnvLineKind::Reward { name, range } => vec!["reward".into(), format!("{} in {}", name.text, expr(range))],
        EnvLineKind::Client(_) => vec!["client".into()],
    }
}

fn layer_line(layer: &Layer) -> Option<String> {
    Some(match &layer.kind {
        LayerKind::Dense { units, tail } => format!("dense {}{}", units.text, tail_text(tail)),
        LayerKind::Conv { channels, kernel, stride, tail } => {
            let stride = stride.as_ref().map_or(String::new(), |s| format!(" stride {}", s.text));
            format!("conv {} kernel {}{stride}{}", channels.text, kernel.text, tail_text(tail))
        }
        LayerKind::Flatten => "flatten".into(),
        LayerKind::Activation(act) => activation(act),
        LayerKind::Scale(c) => format!("scale {}", c.text),
        LayerKind::Residual(_) | LayerKind::Heads(_) => return None,
    })
}

fn tail_text(tail: &Tail) -> String {
    let mut out = String::new();
    if tail.nobias.is_some() {
        out.push_str(" nobias");
    }
    if let Some(act) = &tail.activation {
        out.push(' ');
        out.push_str(&activation(act));
    }
    for init in &tail.init {
        out.push_str(" init ");
        out.push_str(&init.text);
    }
    out
}

fn activation(act: &Activation) -> String {
    if act.args.is_empty() { act.name.text.clone() } else { format!("{}({})", act.name.text, args(&act.args)) }
}

/// A statement on one line; `every` is printed as a block elsewhere.
fn statement(stmt: &Stmt) -> String {
    match &stmt.kind {
        StmtKind::Parameter(list) => {
            let list: Vec<String> = list
                .iter()
                .map(|(name, value)| value.as_ref().map_or(name.text.clone(), |v| format!("{} = {}", name.text, expr(v))))
                .collect();
            format!("parameter {}", list.join(", "))
        }
        StmtKind::State { name, init } => format!("state {} = {}", name.text, expr(init)),
        StmtKind::Noise { name, shape: s } => format!("noise {}: {}", name.text, shape(s)),
        StmtKind::Let { names, tuple, value } => {
            let bound = if *tuple { format!("({})", joined(names)) } else { joined(names) };
            format!("let {bound} = {}", expr(value))
        }
        StmtKind::Minimize { loss, over, with } => {
            format!("minimize {} over {} with {}", expr(loss), joined(over), expr(with))
        }
        StmtKind::Assign { name, value } => format!("{} <- {}", name.text, expr(value)),
        StmtKind::Reveal { value, label } => format!("reveal {} as \"{}\"", expr(value), label.text),
        StmtKind::Every { period, .. } => format!("every {}", expr(period)),
    }
}

fn joined(names: &[Name]) -> String {
    names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(", ")
}

fn shape(shape: &Shape) -> String {
    let dims: Vec<&str> = shape
        .dims
        .iter()
        .map(|dim| match dim {
            Dim::Number(n) => n.text.as_str(),
            Dim::Name(n) => n.text.as_str(),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

fn exprs(list: &[Expr]) -> String {
    list.iter().map(expr).collect::<Vec<_>>().join(", ")
}

fn args(args: &[Arg]) -> String {
    let args: Vec<String> =
        args.iter().map(|arg| arg.name.as_ref().map_or(expr(&arg.value), |name| format!("{}: {}", name.text, expr(&arg.value)))).collect();
    args.join(", ")
}

/// An expression on one line, with the parentheses that it was written with.
pub fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Number(n) => n.text.clone(),
        ExprKind::Name(name) => name.clone(),
        ExprKind::Text(text) => format!("\"{text}\""),
        ExprKind::Paren(inner) => format!("({})", expr(inner)),
        ExprKind::List(list) => format!("[{}]", exprs(list)),
        ExprKind::Neg(inner) => format!("-{}", expr(inner)),
        ExprKind::Binary(BinaryOp::Pow, a, b) => format!("{}^{}", expr(a), expr(b)),
        ExprKind::Binary(op, a, b) => format!("{} {} {}", expr(a), op.symbol(), expr(b)),
        ExprKind::Call(callee, list) => format!("{}({})", expr(callee), args(list)),
        ExprKind::Index(of, index) => format!("{}[{}]", expr(of), expr(index)),
        ExprKind::Field(of, field) => format!("{}.{}", expr(of), field.text),
    }
}
