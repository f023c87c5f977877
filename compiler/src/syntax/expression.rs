//! Expressions: the grammar gives a flat row of terms and operators, precedence is decided here.

use std::iter::Peekable;
use std::vec::IntoIter;

use hecc_plan::Span;
use pest::iterators::Pair;

use super::ast::{Arg, BinaryOp, Expr, ExprKind};
use super::build::{Builder, Parts, name, span_of};
use super::error::SyntaxError;
use super::parse::grammar::Rule;

/// Deepest expression tree; later stages recurse over it.
pub const MAX_DEPTH: usize = 192;

/// An expression and the depth of its tree.
pub(super) struct Deep {
    pub expr: Expr,
    depth: usize,
}

/// A term without its signs, which bind less than `^`.
struct Term {
    minus: Vec<u32>,
    operand: Deep,
}

type Row = Peekable<IntoIter<(Option<BinaryOp>, Term)>>;

impl<'a> Builder<'a> {
    pub(super) fn expr(&mut self, pair: Pair<'a, Rule>) -> Expr {
        self.deep(pair).expr
    }

    fn deep(&mut self, pair: Pair<'a, Rule>) -> Deep {
        let mut row = Vec::new();
        let mut operator = None;
        for part in Parts::of(pair) {
            match part.as_rule() {
                Rule::term => row.push((operator.take(), self.term(part))),
                Rule::plus => operator = Some(BinaryOp::Add),
                Rule::minus => operator = Some(BinaryOp::Sub),
                Rule::times => operator = Some(BinaryOp::Mul),
                Rule::divide => operator = Some(BinaryOp::Div),
                _ => operator = Some(BinaryOp::Pow),
            }
        }
        let mut row = row.into_iter().peekable();
        self.sum(&mut row)
    }

    fn sum(&mut self, row: &mut Row) -> Deep {
        let mut left = self.product(row);
        while let Some(op) = next_is(row, |op| matches!(op, BinaryOp::Add | BinaryOp::Sub)) {
            let right = self.product(row);
            left = self.binary(op, left, right);
        }
        left
    }

    fn product(&mut self, row: &mut Row) -> Deep {
        let mut left = self.factor(row);
        while let Some(op) = next_is(row, |op| matches!(op, BinaryOp::Mul | BinaryOp::Div)) {
            let right = self.factor(row);
            left = self.binary(op, left, right);
        }
        left
    }

    fn factor(&mut self, row: &mut Row) -> Deep {
        let (_, Term { minus, operand }) = row.next().expect("the grammar puts a term here");
        let mut value = operand;
        while next_is(row, |op| op == BinaryOp::Pow).is_some() {
            let (_, exponent) = row.next().expect("the grammar puts a term after an operator");
            let exponent = self.signed(exponent.minus, exponent.operand);
            value = self.binary(BinaryOp::Pow, value, exponent);
        }
        self.signed(minus, value)
    }

    fn signed(&mut self, minus: Vec<u32>, value: Deep) -> Deep {
        minus.into_iter().rev().fold(value, |value, start| {
            let span = Span { start, end: value.expr.span.end };
            self.node(span, value.depth, value.expr.span, |inner| ExprKind::Neg(Box::new(inner)), value.expr)
        })
    }

    fn binary(&mut self, op: BinaryOp, left: Deep, right: Deep) -> Deep {
        let span = Span { start: left.expr.span.start, end: right.expr.span.end };
        let depth = left.depth.max(right.depth);
        let place = right.expr.span;
        self.node(span, depth, place, |left| ExprKind::Binary(op, Box::new(left), Box::new(right.expr)), left.expr)
    }

    /// One level on top of `inner`, unless that is too deep.
    fn node(&mut self, span: Span, depth: usize, place: Span, wrap: impl FnOnce(Expr) -> ExprKind, inner: Expr) -> Deep {
        if depth >= MAX_DEPTH {
            if !self.errors.iter().any(|error| matches!(error, SyntaxError::TooDeep { .. })) {
                self.errors.push(SyntaxError::TooDeep { limit: MAX_DEPTH, span: place });
            }
            return Deep { expr: Expr { kind: inner.kind, span }, depth };
        }
        Deep { expr: Expr { kind: wrap(inner), span }, depth: depth + 1 }
    }

    fn term(&mut self, pair: Pair<'a, Rule>) -> Term {
        let mut parts = Parts::of(pair);
        let mut minus = Vec::new();
        while let Some(sign) = parts.part_if(Rule::minus) {
            minus.push(span_of(&sign).start);
        }
        let mut operand = self.primary(parts.part());
        for postfix in parts {
            let place = span_of(&postfix);
            let span = Span { start: operand.expr.span.start, end: place.end };
            let rule = postfix.as_rule();
            let Deep { expr, depth } = operand;
            operand = match rule {
                Rule::call => {
                    let (args, deepest) = self.args(postfix);
                    self.node(span, depth.max(deepest), place, |callee| ExprKind::Call(Box::new(callee), args), expr)
                }
                Rule::index => {
                    let index = self.deep(Parts::of(postfix).part());
                    let depth = depth.max(index.depth);
                    self.node(span, depth, place, |of| ExprKind::Index(Box::new(of), Box::new(index.expr)), expr)
                }
                _ => {
                    let field = name(&Parts::of(postfix).part());
                    self.node(span, depth, place, |of| ExprKind::Field(Box::new(of), field), expr)
                }
            };
        }
        Term { minus, operand }
    }

    fn primary(&mut self, pair: Pair<'a, Rule>) -> Deep {
        let span = span_of(&pair);
        let kind = match pair.as_rule() {
            Rule::number => ExprKind::Number(self.number(&pair)),
            Rule::name => ExprKind::Name(pair.as_str().to_string()),
            Rule::string => ExprKind::Text(pair.as_str().trim_matches('"').to_string()),
            Rule::list => return self.list(pair),
            _ => {
                let inner = self.deep(Parts::of(pair).part());
                return self.node(span, inner.depth, span, |inner| ExprKind::Paren(Box::new(inner)), inner.expr);
            }
        };
        Deep { expr: Expr { kind, span }, depth: 1 }
    }

    pub(super) fn list(&mut self, pair: Pair<'a, Rule>) -> Deep {
        let span = span_of(&pair);
        let mut depth = 0;
        let elements = Parts::of(pair)
            .map(|one| {
                let one = self.deep(one);
                depth = depth.max(one.depth);
                one.expr
            })
            .collect();
        Deep { expr: Expr { kind: ExprKind::List(elements), span }, depth: depth + 1 }
    }

    /// The arguments of a call, and the depth of the deepest.
    pub(super) fn args(&mut self, pair: Pair<'a, Rule>) -> (Vec<Arg>, usize) {
        let mut deepest = 0;
        let args = Parts::of(pair)
            .map(|arg| {
                let mut parts = Parts::of(arg);
                let title = parts.part_if(Rule::arg_name).map(|title| name(&title));
                let value = self.deep(parts.part());
                deepest = deepest.max(value.depth);
                Arg { name: title, value: value.expr }
            })
            .collect();
        (args, deepest)
    }
}

fn next_is(row: &mut Row, wanted: impl Fn(BinaryOp) -> bool) -> Option<BinaryOp> {
    row.peek().and_then(|(op, _)| *op).filter(|op| wanted(*op))
}
