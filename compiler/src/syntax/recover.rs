//! What is wrong with a leftover: it is parsed again alone, and the furthest place reached is reported.

use hecc_plan::Span;
use pest::Parser;
use pest::error::{Error, ErrorVariant, InputLocation};

use super::build::Builder;
use super::error::SyntaxError;
use super::parse::grammar::{Grammar, Rule};
use super::scan::{MAX_ERRORS, span};
use crate::check::activation_named;

/// What stood before a leftover in its block.
#[derive(Clone, Copy)]
pub(super) struct Previous {
    pub span: Span,
    /// Another leftover.
    pub junk: bool,
}

const ITEM: &str = "`use`, `env`, `net`, `algorithm`, `train`, `serve` or `secure`";
const ENV_LINE: &str = "`observe`, `act`, `reward` or `client`";
const LAYER: &str = "a layer";
const LAYERS: &str = "a layer (`dense`, `conv`, `flatten`, `residual`, `scale`, `heads` or an activation)";
const LAYER_WORDS: [&str; 6] = ["dense", "conv", "flatten", "residual", "scale", "heads"];
const STATEMENT: &str = "a statement";

impl Builder<'_> {
    /// Reports a leftover of a block whose parts are `only`.
    pub(super) fn leftover(&mut self, only: Rule, previous: Option<Previous>, junk: Span) {
        let (start, end) = (junk.start as usize, junk.start as usize + self.text[range(junk)].trim_end().len());
        let same_line = previous.filter(|p| !self.text[p.span.end as usize..start].contains('\n'));
        let first = self.text[start..end].chars().next();
        let continues = previous.is_some_and(|p| p.junk) && matches!(first, Some('+' | '-' | '*' | '/' | '^' | ',' | ')'));
        let line = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let region = span(same_line.map_or(line, |p| line.min(p.span.start as usize)), end);
        let told = self.scanned.iter().any(|e| e.start < region.end.max(region.start + 1) && e.end >= region.start);
        if continues || told || self.errors.len() >= MAX_ERRORS {
            return;
        }
        if let Some(p) = same_line.filter(|p| !p.junk && only == Rule::only_layer && first.is_some_and(|c| c.is_ascii_digit())) {
            // A word before a number was meant as a layer, and read as an activation.
            let word = &self.text[range(p.span)];
            if word_at(word).is_some_and(|found| found == word) && activation_named(word).is_none() && !LAYER_WORDS.contains(&word) {
                let (found, meant) = (word_at(word), meant(only, word));
                self.errors.push(SyntaxError::Unexpected { found, expected: vec![LAYERS], meant, span: p.span });
                return;
            }
        }
        let alone = self.attempt(only, start, end);
        let joined = previous.filter(|p| !p.junk).and_then(|p| self.attempt(only, p.span.start as usize, end));
        let (at, expected) = match (alone, joined) {
            (Some(alone), Some(joined)) => {
                if joined.0 > alone.0 {
                    joined
                } else {
                    alone
                }
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => (start, Vec::new()),
        };
        let expected = if expected.is_empty() && at == start { vec![part(only)] } else { expected };
        let meant = same_line
            .filter(|p| !p.junk)
            .and_then(|p| meant(only, &self.text[range(p.span)]))
            .or_else(|| meant(only, &self.text[start..end]));
        let found = word_at(&self.text[at..end]);
        let length = found.as_ref().map_or(0, String::len);
        self.errors.push(SyntaxError::Unexpected { found, expected, meant, span: span(at, at + length) });
    }

    /// Reports what pest says of a whole text.
    pub(super) fn refused(&mut self, error: Error<Rule>) {
        let (at, expected) = furthest(&error, 0);
        let found = word_at(&self.text[at..]);
        let length = found.as_ref().map_or(0, String::len);
        self.errors.push(SyntaxError::Unexpected { found, expected, meant: None, span: span(at, at + length) });
    }

    fn attempt(&self, only: Rule, start: usize, end: usize) -> Option<(usize, Vec<&'static str>)> {
        let error = Grammar::parse(only, &self.text[start..end]).err()?;
        let (at, expected) = furthest(&error, start);
        Some((at.min(end), expected))
    }
}

/// What the parts of a block are.
fn part(only: Rule) -> &'static str {
    match only {
        Rule::only_item => ITEM,
        Rule::only_env => ENV_LINE,
        Rule::only_client => "`let` or a recoding of the reward",
        Rule::only_layer => LAYER,
        Rule::only_head => "a head",
        Rule::only_setting => "`name = value`",
        _ => STATEMENT,
    }
}

fn range(span: Span) -> std::ops::Range<usize> {
    span.start as usize..span.end as usize
}

fn furthest(error: &Error<Rule>, offset: usize) -> (usize, Vec<&'static str>) {
    let at = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => at,
    };
    let mut expected: Vec<&'static str> = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => positives.iter().filter_map(|rule| phrase(*rule)).collect(),
        ErrorVariant::CustomError { .. } => Vec::new(),
    };
    expected.sort_unstable();
    expected.dedup();
    // Where a layer or a statement can start, so can the name that starts one of them.
    if expected.contains(&LAYER) || expected.contains(&STATEMENT) {
        expected.retain(|phrase| !matches!(*phrase, "a name" | "an activation"));
    }
    if expected.contains(&"the end") && expected.len() > 3 {
        expected.retain(|phrase| *phrase != "the end");
    }
    (offset + at, expected)
}

/// The word, number or character at the start of a text, at most 24 characters of it.
fn word_at(text: &str) -> Option<String> {
    let text = text.trim_start_matches([' ', '\t', '\r']);
    let first = text.chars().next().filter(|c| *c != '\n')?;
    let in_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '\'';
    if in_word(first) {
        return Some(text.chars().take_while(|c| in_word(*c)).take(24).collect());
    }
    let two: String = text.chars().take(2).collect();
    Some(if matches!(two.as_str(), "<-" | "->") { two } else { first.to_string() })
}

/// A keyword that is nearly, but not quite, the first word of a text.
fn meant(only: Rule, text: &str) -> Option<String> {
    let words: &[&str] = match only {
        Rule::only_item => &["use", "env", "net", "algorithm", "train", "serve", "secure"],
        Rule::only_env => &["observe", "act", "reward", "client"],
        Rule::only_layer => &LAYER_WORDS,
        Rule::only_stmt => &["parameter", "state", "noise", "let", "minimize", "reveal", "every"],
        Rule::only_client => &["let"],
        _ => &[],
    };
    let first = word_at(text)?;
    if words.contains(&first.as_str()) {
        return None;
    }
    crate::check::names::nearest(&first, words.iter().copied())
}

fn phrase(rule: Rule) -> Option<&'static str> {
    Some(match rule {
        Rule::EOI => "the end",
        Rule::item | Rule::use_item | Rule::env_item | Rule::net_item | Rule::algorithm_item => ITEM,
        Rule::train_item | Rule::serve_item | Rule::secure_item => ITEM,
        Rule::observe | Rule::act | Rule::reward | Rule::client => ENV_LINE,
        Rule::dense | Rule::conv | Rule::flatten | Rule::residual | Rule::scale | Rule::heads => LAYER,
        Rule::activation => "an activation",
        Rule::nobias => "`nobias`",
        Rule::init => "`init`",
        Rule::parameters | Rule::state | Rule::noise | Rule::let_stmt | Rule::minimize => STATEMENT,
        Rule::reveal | Rule::every | Rule::assign => STATEMENT,
        Rule::head => "a head",
        Rule::setting => "`name = value`",
        Rule::name | Rule::word | Rule::path | Rule::parameter | Rule::arg_name => "a name",
        Rule::net_input => "an input",
        Rule::output | Rule::outputs | Rule::shape => "a shape `[n]`",
        Rule::names => "names in parentheses",
        Rule::number | Rule::digits => "a number",
        Rule::string => "a string",
        Rule::expr | Rule::term | Rule::paren | Rule::arg => "a value",
        Rule::list | Rule::ranges => "a list `[...]`",
        Rule::quantize => "a value",
        Rule::one_of => "`one of`",
        Rule::plus | Rule::minus | Rule::times | Rule::divide | Rule::power => "an operator",
        Rule::call | Rule::index | Rule::field => return None,
        Rule::lparen => "`(`",
        Rule::rparen => "`)`",
        Rule::lbracket => "`[`",
        Rule::rbracket => "`]`",
        Rule::lbrace => "`{`",
        Rule::rbrace => "`}`",
        Rule::comma => "`,`",
        Rule::colon => "`:`",
        Rule::dot => "`.`",
        Rule::equals => "`=`",
        Rule::becomes => "`<-`",
        Rule::arrow => "`->`",
        Rule::kw_in => "`in`",
        Rule::kw_one => "`one`",
        Rule::kw_of => "`of`",
        Rule::kw_kernel => "`kernel`",
        Rule::kw_stride => "`stride`",
        Rule::kw_over => "`over`",
        Rule::kw_with => "`with`",
        Rule::kw_as => "`as`",
        Rule::kw_use | Rule::kw_env | Rule::kw_net | Rule::kw_algorithm => ITEM,
        Rule::kw_train | Rule::kw_serve | Rule::kw_secure => ITEM,
        Rule::kw_observe | Rule::kw_act | Rule::kw_reward | Rule::kw_client => ENV_LINE,
        Rule::kw_dense | Rule::kw_conv | Rule::kw_flatten | Rule::kw_residual | Rule::kw_scale | Rule::kw_heads => LAYER,
        Rule::kw_parameter | Rule::kw_state | Rule::kw_noise | Rule::kw_let | Rule::kw_minimize => STATEMENT,
        Rule::kw_reveal | Rule::kw_every => STATEMENT,
        _ => return None,
    })
}
