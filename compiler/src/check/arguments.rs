//! Arguments of calls: by place, by name, and the pins `degree:` and `range:`.

use hecc_plan::Span;

use super::error::{ArgumentProblem, CheckError};
use super::expressions::Exprs;
use super::hir::{Function, Pins, Range};
use super::names::nearest;
use crate::syntax::ast::{self, Arg};

/// Largest degree that a program may pin.
const MAX_DEGREE: f64 = 127.0;

/// The parameters of something that is called.
pub(super) struct Signature {
    pub names: &'static [&'static str],
    pub required: usize,
    /// Whether it takes `degree:` and `range:`.
    pub pins: bool,
}

impl Exprs<'_> {
    /// Puts arguments to the parameters of a signature.
    pub fn bind<'e>(
        &mut self,
        function: &str,
        signature: &Signature,
        args: &'e [Arg],
        span: Span,
    ) -> Option<(Vec<Option<&'e ast::Expr>>, Pins)> {
        let mut bound: Vec<Option<&ast::Expr>> = vec![None; signature.names.len()];
        let mut pins = Vec::new();
        let mut positional = 0;
        let mut sound = true;
        for arg in args {
            let slot = match &arg.name {
                None => {
                    positional += 1;
                    if positional > signature.names.len() {
                        continue;
                    }
                    positional - 1
                }
                Some(name) => match signature.names.iter().position(|known| *known == name.text) {
                    Some(slot) => slot,
                    None if signature.pins && matches!(name.text.as_str(), "degree" | "range") => {
                        pins.push((name, &arg.value));
                        continue;
                    }
                    None => {
                        let mut known = signature.names.to_vec();
                        if signature.pins {
                            known.extend(["degree", "range"]);
                        }
                        let meant = nearest(&name.text, known.iter().copied());
                        let problem = ArgumentProblem::UnknownName { name: name.text.clone(), meant, known };
                        self.bad_arguments(function, problem, name.span);
                        sound = false;
                        continue;
                    }
                },
            };
            if bound[slot].replace(&arg.value).is_some() {
                let problem = ArgumentProblem::Twice { name: signature.names[slot].to_string() };
                self.bad_arguments(function, problem, arg.value.span);
                sound = false;
            }
        }
        if sound && (positional > signature.names.len() || bound[..signature.required].iter().any(Option::is_none)) {
            let takes = takes(signature);
            self.bad_arguments(function, ArgumentProblem::Count { takes, found: args.len() }, span);
            sound = false;
        }
        let pins = self.pins(function, &pins);
        (sound).then_some(())?;
        Some((bound, pins?))
    }

    pub fn bad_arguments(&mut self, function: &str, problem: ArgumentProblem, span: Span) {
        let span = self.place(span);
        self.report(CheckError::BadArguments { function: function.to_string(), problem, span });
    }

    fn pins(&mut self, function: &str, given: &[(&ast::Name, &ast::Expr)]) -> Option<Pins> {
        let mut pins = Pins::default();
        let mut sound = true;
        for (name, value) in given {
            let twice = if name.text == "degree" { pins.degree.is_some() } else { pins.range.is_some() };
            if twice {
                self.bad_arguments(function, ArgumentProblem::Twice { name: name.text.clone() }, name.span);
                sound = false;
            } else if name.text == "degree" {
                pins.degree = self.natural(value, "a degree", 1.0, MAX_DEGREE);
                sound &= pins.degree.is_some();
            } else {
                pins.range = self.range(value);
                sound &= pins.range.is_some();
            }
        }
        sound.then_some(pins)
    }

    /// `[low, high]`.
    pub fn range(&mut self, value: &ast::Expr) -> Option<Range> {
        let span = self.place(value.span);
        let ast::ExprKind::List(ends) = &value.kind else {
            self.report(CheckError::BadRange { ends: None, span });
            return None;
        };
        let [low, high] = ends.as_slice() else {
            self.report(CheckError::BadRange { ends: None, span });
            return None;
        };
        let (low, high) = (self.constant(low, "an end of a range"), self.constant(high, "an end of a range"));
        let (low, high) = (low?, high?);
        if low >= high {
            self.report(CheckError::BadRange { ends: Some((low, high)), span });
            return None;
        }
        Some(Range { low, high })
    }

    /// A constant number.
    pub fn constant(&mut self, value: &ast::Expr, what: &str) -> Option<f64> {
        let checked = self.check(value)?;
        let number = checked.number();
        if number.is_none() {
            let span = self.place(value.span);
            self.report(CheckError::NotConstant { what: what.to_string(), span });
        }
        number
    }

    /// A constant natural number between two bounds.
    pub fn natural(&mut self, value: &ast::Expr, what: &str, low: f64, high: f64) -> Option<usize> {
        let number = self.constant(value, what)?;
        if number.fract() != 0.0 || number < low || number > high {
            let span = self.place(value.span);
            let expected = format!("a whole number from {low} to {high}");
            self.report(CheckError::BadNumber { what: what.to_string(), expected, span });
            return None;
        }
        Some(number as usize)
    }

    /// The function of an activation and its pins; `None` after an error.
    pub fn activation(&mut self, act: &ast::Activation) -> Option<(Function, Pins)> {
        let name = act.name.text.as_str();
        if name == "poly" {
            let coefficients = self.coefficients(&act.args, act.span)?;
            return Some((Function::Poly(coefficients), Pins::default()));
        }
        let Some(function) = activation_named(name) else {
            let meant = nearest(name, ACTIVATIONS);
            let span = self.place(act.name.span);
            self.report(CheckError::UnknownFunction { what: "activation", name: name.to_string(), meant, span });
            return None;
        };
        let (_, pins) = self.bind(name, &Signature { names: &[], required: 0, pins: true }, &act.args, act.span)?;
        Some((function, pins))
    }

    /// The coefficients of `poly`.
    pub fn coefficients(&mut self, args: &[Arg], span: Span) -> Option<Vec<f64>> {
        if args.is_empty() {
            let takes = "coefficients c0, c1, ...".to_string();
            self.bad_arguments("poly", ArgumentProblem::Count { takes, found: 0 }, span);
            return None;
        }
        let mut coefficients = Vec::new();
        for arg in args {
            if let Some(name) = &arg.name {
                let problem = ArgumentProblem::UnknownName { name: name.text.clone(), meant: None, known: Vec::new() };
                self.bad_arguments("poly", problem, name.span);
            } else if let Some(c) = self.constant(&arg.value, "a coefficient") {
                coefficients.push(c);
            }
        }
        (coefficients.len() == args.len()).then_some(coefficients)
    }
}

fn takes(signature: &Signature) -> String {
    if signature.names.is_empty() {
        return "no arguments but `degree:` and `range:`".to_string();
    }
    let (required, optional) = signature.names.split_at(signature.required);
    let mut text = required.join(", ");
    for name in optional {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name);
        text.push_str(": ...");
    }
    format!("({text})")
}

/// Activations by their names in the language; `poly` takes arguments and stands apart.
pub(super) const ACTIVATIONS: [&str; 10] = ["relu", "silu", "gelu", "tanh", "sigmoid", "softplus", "mish", "square", "softmax", "poly"];

pub(crate) fn activation_named(name: &str) -> Option<Function> {
    Some(match name {
        "relu" => Function::Relu,
        "silu" => Function::Silu,
        "gelu" => Function::Gelu,
        "tanh" => Function::Tanh,
        "sigmoid" => Function::Sigmoid,
        "softplus" => Function::Softplus,
        "mish" => Function::Mish,
        "square" => Function::Square,
        "softmax" => Function::Softmax,
        _ => return None,
    })
}
