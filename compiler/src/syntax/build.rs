//! The grammar's pairs to the tree.

use hecc_plan::Span;
use pest::iterators::{Pair, Pairs};

use super::ast::*;
use super::error::SyntaxError;
use super::parse::grammar::Rule;
use super::recover::Previous;
use super::scan::span;

/// Builds the tree of a text and collects what is wrong with it.
pub(super) struct Builder<'a> {
    pub text: &'a str,
    /// Where the scan has already reported something.
    pub scanned: Vec<Span>,
    pub errors: Vec<SyntaxError>,
}

/// The parts of a pair that are not mere tokens.
pub(super) struct Parts<'a>(std::iter::Peekable<Pairs<'a, Rule>>);

impl<'a> Parts<'a> {
    pub(super) fn of(pair: Pair<'a, Rule>) -> Self {
        Parts(pair.into_inner().peekable())
    }

    pub(super) fn peek(&mut self) -> Option<Rule> {
        while self.0.next_if(|pair| is_token(pair.as_rule())).is_some() {}
        self.0.peek().map(Pair::as_rule)
    }

    /// The next part, which the grammar has made sure of.
    pub(super) fn part(&mut self) -> Pair<'a, Rule> {
        self.peek();
        self.0.next().expect("the grammar's rule has this part")
    }

    pub(super) fn part_if(&mut self, rule: Rule) -> Option<Pair<'a, Rule>> {
        (self.peek() == Some(rule)).then(|| self.part())
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Pair<'a, Rule>;

    fn next(&mut self) -> Option<Self::Item> {
        self.peek().map(|_| self.part())
    }
}

/// Tokens say nothing that the rule around them does not.
fn is_token(rule: Rule) -> bool {
    use Rule::*;
    matches!(
        rule,
        lparen
            | rparen
            | lbracket
            | rbracket
            | lbrace
            | rbrace
            | comma
            | colon
            | dot
            | equals
            | becomes
            | arrow
            | kw_use
            | kw_env
            | kw_net
            | kw_algorithm
            | kw_train
            | kw_serve
            | kw_secure
            | kw_observe
            | kw_act
            | kw_reward
            | kw_client
            | kw_in
            | kw_one
            | kw_of
            | kw_dense
            | kw_conv
            | kw_kernel
            | kw_stride
            | kw_flatten
            | kw_residual
            | kw_scale
            | kw_heads
            | kw_nobias
            | kw_init
            | kw_parameter
            | kw_state
            | kw_noise
            | kw_let
            | kw_minimize
            | kw_over
            | kw_with
            | kw_reveal
            | kw_as
            | kw_every
            | EOI
    )
}

/// Where a pair stands, up to the end of its last token: a rule that ends in something optional also
/// spans the white space and comments before what was not there.
pub(super) fn span_of(pair: &Pair<'_, Rule>) -> Span {
    let start = pair.as_span().start();
    let mut last = pair.clone();
    while let Some(inner) = last.clone().into_inner().next_back() {
        last = inner;
    }
    span(start, last.as_span().start() + last.as_str().trim_end().len())
}

impl<'a> Builder<'a> {
    pub(super) fn new(text: &'a str, scanned: &[SyntaxError]) -> Self {
        Builder { text, scanned: scanned.iter().map(SyntaxError::span).collect(), errors: Vec::new() }
    }

    pub(super) fn file(&mut self, pairs: Pairs<'a, Rule>) -> Vec<Item> {
        let mut items = Vec::new();
        let parts = pairs.into_iter().next().map(Parts::of).into_iter().flatten();
        for pair in parts {
            let span = span_of(&pair);
            match pair.as_rule() {
                Rule::junk_item => self.leftover(Rule::only_item, None, span),
                _ => items.push(self.item(pair)),
            }
        }
        items
    }

    fn item(&mut self, pair: Pair<'a, Rule>) -> Item {
        let span = span_of(&pair);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        match rule {
            Rule::use_item => Item::Use(Use { paths: parts.map(|path| name(&path)).collect(), span }),
            Rule::env_item => {
                let id = text(&parts.part());
                let lines = self.block(Rule::only_env, parts, Self::env_line);
                Item::Env(Env { id, lines, span })
            }
            Rule::net_item => {
                let title = name(&parts.part());
                let mut inputs = Vec::new();
                while let Some(input) = parts.part_if(Rule::net_input) {
                    let mut input = Parts::of(input);
                    inputs.push(NetInput { name: name(&input.part()), shape: input.next().map(|s| self.shape(s)) });
                }
                let output = parts.part();
                let output = match output.as_rule() {
                    Rule::shape => Output::Single(self.shape(output)),
                    _ => Output::Named(
                        Parts::of(output)
                            .map(|one| {
                                let mut one = Parts::of(one);
                                (name(&one.part()), self.shape(one.part()))
                            })
                            .collect(),
                    ),
                };
                let layers = self.block(Rule::only_layer, parts, Self::layer);
                Item::Net(Net { name: title, inputs, output, layers, span })
            }
            Rule::algorithm_item => {
                let title = name(&parts.part());
                let nets = names(parts.part());
                let body = self.block(Rule::only_stmt, parts, Self::statement);
                Item::Algorithm(Algorithm { name: title, nets, body, span })
            }
            Rule::train_item => {
                let algorithm = name(&parts.part());
                let nets = names(parts.part());
                let settings = self.block(Rule::only_setting, parts, Self::setting);
                Item::Train(Train { algorithm, nets, settings, span })
            }
            Rule::serve_item => {
                let expr = self.expr(parts.part());
                let settings = self.block(Rule::only_setting, parts, Self::setting);
                Item::Serve(Serve { expr, settings, span })
            }
            _ => {
                let scheme = name(&parts.part());
                let settings = self.block(Rule::only_setting, parts, Self::setting);
                Item::Secure(Secure { scheme, settings, span })
            }
        }
    }

    fn block<T>(&mut self, only: Rule, parts: Parts<'a>, build: fn(&mut Self, Pair<'a, Rule>) -> T) -> Vec<T> {
        let mut out = Vec::new();
        let mut previous: Option<Previous> = None;
        for pair in parts {
            let span = span_of(&pair);
            let junk = pair.as_rule() == Rule::junk;
            if junk {
                self.leftover(only, previous, span);
            } else {
                out.push(build(self, pair));
            }
            previous = Some(Previous { span, junk });
        }
        out
    }

    fn env_line(&mut self, pair: Pair<'a, Rule>) -> EnvLine {
        let span = span_of(&pair);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        let kind = match rule {
            Rule::observe => {
                EnvLineKind::Observe { name: name(&parts.part()), shape: self.shape(parts.part()), ranges: self.ranges(parts.part()) }
            }
            Rule::act => {
                let title = name(&parts.part());
                let shape = parts.part_if(Rule::shape).map(|s| self.shape(s));
                let choice = parts.part();
                let choice = match choice.as_rule() {
                    Rule::one_of => Choice::OneOf(self.number(&Parts::of(choice).part())),
                    _ => Choice::In(self.ranges(choice)),
                };
                EnvLineKind::Act { name: title, shape, choice }
            }
            Rule::reward => EnvLineKind::Reward { name: name(&parts.part()), range: self.list(parts.part()).expr },
            _ => EnvLineKind::Client(self.block(Rule::only_client, parts, Self::statement)),
        };
        EnvLine { kind, span }
    }

    fn ranges(&mut self, pair: Pair<'a, Rule>) -> Vec<Expr> {
        Parts::of(pair).map(|one| self.list(one).expr).collect()
    }

    fn shape(&mut self, pair: Pair<'a, Rule>) -> Shape {
        let span = span_of(&pair);
        let dims = Parts::of(pair)
            .map(|dim| match dim.as_rule() {
                Rule::number => Dim::Number(self.number(&dim)),
                _ => Dim::Name(name(&dim)),
            })
            .collect();
        Shape { dims, span }
    }

    fn layer(&mut self, pair: Pair<'a, Rule>) -> Layer {
        let span = span_of(&pair);
        let rule = pair.as_rule();
        if rule == Rule::activation {
            return Layer { kind: LayerKind::Activation(self.activation(pair)), span };
        }
        let mut parts = Parts::of(pair);
        let kind = match rule {
            Rule::dense => LayerKind::Dense { units: self.number(&parts.part()), tail: self.tail(parts) },
            Rule::conv => {
                let channels = self.number(&parts.part());
                let kernel = self.number(&parts.part());
                let stride = parts.part_if(Rule::number).map(|n| self.number(&n));
                LayerKind::Conv { channels, kernel, stride, tail: self.tail(parts) }
            }
            Rule::flatten => LayerKind::Flatten,
            Rule::residual => LayerKind::Residual(self.block(Rule::only_layer, parts, Self::layer)),
            Rule::scale => {
                let negative = parts.part_if(Rule::minus).is_some();
                let mut number = self.number(&parts.part());
                if negative {
                    number.value = -number.value;
                    number.text.insert(0, '-');
                }
                LayerKind::Scale(number)
            }
            _ => LayerKind::Heads(self.block(Rule::only_head, parts, Self::head)),
        };
        Layer { kind, span }
    }

    fn head(&mut self, pair: Pair<'a, Rule>) -> Head {
        let span = span_of(&pair);
        let mut parts = Parts::of(pair);
        Head { name: name(&parts.part()), layers: self.block(Rule::only_layer, parts, Self::layer), span }
    }

    fn tail(&mut self, parts: Parts<'a>) -> Tail {
        let mut tail = Tail::default();
        for part in parts {
            match part.as_rule() {
                Rule::nobias => tail.nobias = Some(span_of(&part)),
                Rule::init => tail.init.push(name(&Parts::of(part).part())),
                _ => tail.activation = Some(self.activation(part)),
            }
        }
        tail
    }

    fn activation(&mut self, pair: Pair<'a, Rule>) -> Activation {
        let span = span_of(&pair);
        let mut parts = Parts::of(pair);
        let title = name(&parts.part());
        let args = parts.next().map_or_else(Vec::new, |call| self.args(call).0);
        Activation { name: title, args, span }
    }

    fn setting(&mut self, pair: Pair<'a, Rule>) -> Setting {
        let span = span_of(&pair);
        let mut parts = Parts::of(pair);
        let title = name(&parts.part());
        let value = parts.part();
        let value = if value.as_rule() == Rule::quantize {
            let mut halves = value.as_str().split_whitespace().map(|half| half[1..].to_string());
            let (weights, activations) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
            SettingValue::Quantize { weights, activations, span: span_of(&value) }
        } else {
            SettingValue::Expr(self.expr(value))
        };
        Setting { name: title, value, span }
    }

    fn statement(&mut self, pair: Pair<'a, Rule>) -> Stmt {
        let span = span_of(&pair);
        let rule = pair.as_rule();
        let mut parts = Parts::of(pair);
        let kind = match rule {
            Rule::parameters => StmtKind::Parameter(
                parts
                    .map(|one| {
                        let mut one = Parts::of(one);
                        (name(&one.part()), one.next().map(|value| self.expr(value)))
                    })
                    .collect(),
            ),
            Rule::state => StmtKind::State { name: name(&parts.part()), init: self.expr(parts.part()) },
            Rule::noise => StmtKind::Noise { name: name(&parts.part()), shape: self.shape(parts.part()) },
            Rule::let_stmt => {
                let bound = parts.part();
                let tuple = bound.as_rule() == Rule::names;
                let names = if tuple { names(bound) } else { vec![name(&bound)] };
                StmtKind::Let { names, tuple, value: self.expr(parts.part()) }
            }
            Rule::minimize => {
                let loss = self.expr(parts.part());
                let mut over = Vec::new();
                while let Some(one) = parts.part_if(Rule::name) {
                    over.push(name(&one));
                }
                StmtKind::Minimize { loss, over, with: self.expr(parts.part()) }
            }
            Rule::reveal => StmtKind::Reveal { value: self.expr(parts.part()), label: text(&parts.part()) },
            Rule::every => {
                let period = self.expr(parts.part());
                StmtKind::Every { period, body: self.block(Rule::only_stmt, parts, Self::statement) }
            }
            _ => StmtKind::Assign { name: name(&parts.part()), value: self.expr(parts.part()) },
        };
        Stmt { kind, span }
    }

    pub(super) fn number(&mut self, pair: &Pair<'a, Rule>) -> Number {
        let span = span_of(pair);
        let value = pair.as_str().parse::<f64>().ok().filter(|value| value.is_finite());
        if value.is_none() {
            self.errors.push(SyntaxError::HugeNumber { span });
        }
        Number { text: pair.as_str().to_string(), value: value.unwrap_or(0.0), span }
    }
}

pub(super) fn name(pair: &Pair<'_, Rule>) -> Name {
    Name { text: pair.as_str().to_string(), span: span_of(pair) }
}

fn names(pair: Pair<'_, Rule>) -> Vec<Name> {
    Parts::of(pair).map(|one| name(&one)).collect()
}

fn text(pair: &Pair<'_, Rule>) -> Name {
    Name { text: pair.as_str().trim_matches('"').to_string(), span: span_of(pair) }
}
