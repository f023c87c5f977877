//! `--emit ast`: the tree as text, one line per item, statement or layer, expressions in prefix form.

use std::fmt::Write;

use super::ast::*;
use super::print;

/// Prints the tree of a program.
pub fn run(program: &Program) -> String {
    let mut out = String::new();
    for item in &program.items {
        dump_item(&mut out, item);
    }
    out
}

fn line(out: &mut String, indent: usize, span: hecc_plan::Span, text: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{:indent$}{text} @{}..{}", "", span.start, span.end, indent = indent * 2);
}

fn dump_item(out: &mut String, item: &Item) {
    let span = item.span();
    match item {
        Item::Use(x) => line(out, 0, span, &format!("use {}", names(&x.paths))),
        Item::Env(x) => {
            line(out, 0, span, &format!("env {:?}", x.id.text));
            for one in &x.lines {
                env_line(out, one);
            }
        }
        Item::Net(x) => {
            let inputs: Vec<String> = x
                .inputs
                .iter()
                .map(|i| i.shape.as_ref().map_or(i.name.text.clone(), |s| format!("{}:{}", i.name.text, shape(s))))
                .collect();
            let output = match &x.output {
                Output::Single(s) => shape(s),
                Output::Named(list) => list.iter().map(|(name, s)| format!("{}:{}", name.text, shape(s))).collect::<Vec<_>>().join(" "),
            };
            line(out, 0, span, &format!("net {} ({}) -> {output}", x.name.text, inputs.join(" ")));
            layers(out, 1, &x.layers);
        }
        Item::Algorithm(x) => {
            line(out, 0, span, &format!("algorithm {} ({})", x.name.text, names(&x.nets)));
            statements(out, 1, &x.body);
        }
        Item::Train(x) => {
            line(out, 0, span, &format!("train {} ({})", x.algorithm.text, names(&x.nets)));
            settings(out, &x.settings);
        }
        Item::Serve(x) => {
            line(out, 0, span, &format!("serve {}", prefix(&x.expr)));
            settings(out, &x.settings);
        }
        Item::Secure(x) => {
            line(out, 0, span, &format!("secure {}", x.scheme.text));
            settings(out, &x.settings);
        }
    }
}

fn env_line(out: &mut String, one: &EnvLine) {
    let text = match &one.kind {
        EnvLineKind::Observe { name, shape: s, ranges } => {
            format!("observe {} {} {}", name.text, shape(s), prefixes(ranges))
        }
        EnvLineKind::Act { name, shape: s, choice } => {
            let s = s.as_ref().map_or(String::new(), |s| format!(" {}", shape(s)));
            let choice = match choice {
                Choice::OneOf(k) => format!("one-of {}", k.text),
                Choice::In(ranges) => prefixes(ranges),
            };
            format!("act {}{s} {choice}", name.text)
        }
        EnvLineKind::Reward { name, range } => format!("reward {} {}", name.text, prefix(range)),
        EnvLineKind::Client(body) => {
            line(out, 1, one.span, "client");
            return statements(out, 2, body);
        }
    };
    line(out, 1, one.span, &text);
}

fn settings(out: &mut String, settings: &[Setting]) {
    for setting in settings {
        let value = match &setting.value {
            SettingValue::Expr(e) => prefix(e),
            SettingValue::Quantize { weights, activations, .. } => format!("(quantize {weights} {activations})"),
        };
        line(out, 1, setting.span, &format!("set {} {value}", setting.name.text));
    }
}

fn layers(out: &mut String, indent: usize, list: &[Layer]) {
    for layer in list {
        let text = match &layer.kind {
            LayerKind::Dense { units, tail } => format!("dense {}{}", units.text, tail_text(tail)),
            LayerKind::Conv { channels, kernel, stride, tail } => {
                let stride = stride.as_ref().map_or("1", |s| s.text.as_str());
                format!("conv {} {} {stride}{}", channels.text, kernel.text, tail_text(tail))
            }
            LayerKind::Flatten => "flatten".into(),
            LayerKind::Activation(act) => activation(act),
            LayerKind::Scale(c) => format!("scale {}", c.text),
            LayerKind::Residual(inner) => {
                line(out, indent, layer.span, "residual");
                layers(out, indent + 1, inner);
                continue;
            }
            LayerKind::Heads(heads) => {
                line(out, indent, layer.span, "heads");
                for head in heads {
                    line(out, indent + 1, head.span, &format!("head {}", head.name.text));
                    layers(out, indent + 2, &head.layers);
                }
                continue;
            }
        };
        line(out, indent, layer.span, &text);
    }
}

fn tail_text(tail: &Tail) -> String {
    let mut text = String::new();
    if tail.nobias.is_some() {
        text.push_str(" nobias");
    }
    if let Some(act) = &tail.activation {
        text.push(' ');
        text.push_str(&activation(act));
    }
    for init in &tail.init {
        text.push_str(" init=");
        text.push_str(&init.text);
    }
    text
}

fn activation(act: &Activation) -> String {
    if act.args.is_empty() { act.name.text.clone() } else { format!("({}{})", act.name.text, args(&act.args)) }
}

fn statements(out: &mut String, indent: usize, body: &[Stmt]) {
    for stmt in body {
        let text = match &stmt.kind {
            StmtKind::Parameter(list) => {
                let list: Vec<String> = list
                    .iter()
                    .map(|(name, value)| value.as_ref().map_or(name.text.clone(), |v| format!("({} {})", name.text, prefix(v))))
                    .collect();
                format!("parameter {}", list.join(" "))
            }
            StmtKind::State { name, init } => format!("state {} {}", name.text, prefix(init)),
            StmtKind::Noise { name, shape: s } => format!("noise {} {}", name.text, shape(s)),
            StmtKind::Let { names: bound, tuple, value } => {
                let bound = if *tuple { format!("({})", names(bound)) } else { names(bound) };
                format!("let {bound} {}", prefix(value))
            }
            StmtKind::Minimize { loss, over, with } => {
                format!("minimize {} over {} with {}", prefix(loss), names(over), prefix(with))
            }
            StmtKind::Assign { name, value } => format!("assign {} {}", name.text, prefix(value)),
            StmtKind::Reveal { value, label } => format!("reveal {} {:?}", prefix(value), label.text),
            StmtKind::Every { period, body } => {
                line(out, indent, stmt.span, &format!("every {}", prefix(period)));
                statements(out, indent + 1, body);
                continue;
            }
        };
        line(out, indent, stmt.span, &text);
    }
}

fn names(list: &[Name]) -> String {
    list.iter().map(|name| name.text.as_str()).collect::<Vec<_>>().join(" ")
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
    format!("[{}]", dims.join(" "))
}

fn args(args: &[Arg]) -> String {
    args.iter()
        .map(|arg| match &arg.name {
            Some(name) => format!(" {}:{}", name.text, prefix(&arg.value)),
            None => format!(" {}", prefix(&arg.value)),
        })
        .collect()
}

fn prefixes(list: &[Expr]) -> String {
    list.iter().map(prefix).collect::<Vec<_>>().join(" ")
}

fn prefix(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Number(_) | ExprKind::Name(_) | ExprKind::Text(_) => print::expr(e),
        ExprKind::Paren(inner) => prefix(inner),
        ExprKind::List(list) => format!("[{}]", prefixes(list)),
        ExprKind::Neg(inner) => format!("(- {})", prefix(inner)),
        ExprKind::Binary(op, a, b) => format!("({} {} {})", op.symbol(), prefix(a), prefix(b)),
        ExprKind::Call(callee, list) => format!("({}{})", prefix(callee), args(list)),
        ExprKind::Index(of, index) => format!("(index {} {})", prefix(of), prefix(index)),
        ExprKind::Field(of, field) => format!("(field {} {})", prefix(of), field.text),
    }
}
