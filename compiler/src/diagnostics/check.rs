//! The words of errors of names, shapes, ranges and secrecy.

use super::Diagnostic;
use crate::check::error::{ArgumentProblem, CheckError, HeadProblem};
use crate::check::expressions::kind_of;
use crate::check::hir::Type;

impl From<&CheckError> for Diagnostic {
    fn from(error: &CheckError) -> Self {
        let (code, at) = (error.code(), error.span());
        let say = |message: String| Diagnostic::error(code, message, at);
        match error {
            CheckError::UnknownName { what, name, meant, span: _ } => say(format!("no {what} named `{name}`")).meant(meant.as_deref()),
            CheckError::Duplicate { what, name, span: _, first } => {
                let message = if name.is_empty() { format!("a second {what}") } else { format!("a second {what} named `{name}`") };
                let diagnostic = say(message);
                if *first == at { diagnostic } else { diagnostic.label(*first, "the first is here") }
            }
            CheckError::Missing { what, within, span: _ } => say(format!("{within} lacks `{what}`")),
            CheckError::UnknownSetting { name, item, meant, span: _ } => {
                say(format!("`{item}` has no setting `{name}`")).meant(meant.as_deref())
            }
            CheckError::BadSetting { name, expected, span: _ } => say(format!("`{name}` takes {expected}")),
            CheckError::MissingSetting { name, algorithm, span: _ } => match algorithm {
                Some(algorithm) => say(format!("`{algorithm}` needs its parameter `{name}`"))
                    .help(format!("set it in the braces after `train`: `{name} = ...`")),
                None => say(format!("`train` needs the setting `{name}`")).help(format!("set it in the braces: `{name} = 100`")),
            },
            CheckError::BadRange { ends, span: _ } => match ends {
                Some((low, high)) => say(format!("the range [{low}, {high}] is empty: the low end must be below the high end"))
                    .help(if low > high { format!("did you mean `[{high}, {low}]`?") } else { "a range has some width".into() }),
                None => say("a range is `[low, high]`".into()),
            },
            CheckError::RangeCount { elements, found, span: _ } => {
                say(format!("{found} ranges for {elements} elements")).help(format!("give one range for all, or {elements}"))
            }
            CheckError::UnknownFunction { what, name, meant, span: _ } => say(format!("no {what} named `{name}`")).meant(meant.as_deref()),
            CheckError::BadArguments { function, problem, span: _ } => match problem {
                ArgumentProblem::Count { takes, found } => {
                    say(format!("`{function}` takes {takes}, and is given {}", count(*found, "argument")))
                }
                ArgumentProblem::UnknownName { name, meant, known } => {
                    let diagnostic = say(format!("`{function}` has no argument named `{name}`"));
                    match meant {
                        Some(_) => diagnostic.meant(meant.as_deref()),
                        None if known.is_empty() => diagnostic.help("its arguments are given by place, without names"),
                        None => diagnostic.help(format!("it has `{}`", known.join("`, `"))),
                    }
                }
                ArgumentProblem::Twice { name } => say(format!("`{function}` is given `{name}` twice")),
            },
            CheckError::ShapeMismatch { what, expected, found, span: _ } => say(format!("{what} needs {expected}, and gets {found}")),
            CheckError::NetOutput { name, declared, found, span: _, last } => {
                say(format!("`{name}` is declared as {declared:?}, but its layers give {found:?}"))
                    .here(format!("declared as {declared:?}"))
                    .label(*last, format!("gives {found:?}"))
            }
            CheckError::LayerInput { layer, needs, found, span: _ } => say(format!("`{layer}` needs {needs}; here it gets {found:?}")),
            CheckError::NotScalar { what, found, span: _ } => {
                let diagnostic = say(format!("{what} is one number for the whole batch; this is {}", kind_of(found)));
                match found {
                    Type::Sample(1) => diagnostic.help("take the mean over the batch: `mean(...)`"),
                    Type::Sample(_) | Type::Image(_) => {
                        diagnostic.help("`sum` or `mean` it over its elements first, then `mean` it over the batch")
                    }
                    Type::Number | Type::Batch | Type::Tuple(_) => diagnostic,
                }
            }
            CheckError::NotAState { name, is, span: _ } => {
                say(format!("`{name}` cannot be assigned to: it is {is}")).help("`<-` gives a new value to what `state` declares")
            }
            CheckError::NotTrainable { name, span: _ } => {
                say(format!("`{name}` has no parameters to train")).help("after `over` stand networks and states")
            }
            CheckError::SecretFlow { secret, public, span: _, source, declared } => {
                let diagnostic = say(format!("the secret `{secret}` would show in `{public}`, which is public"))
                    .here(format!("this makes `{public}` depend on `{secret}`"));
                let diagnostic = if *source == at { diagnostic } else { diagnostic.label(*source, format!("`{secret}` is secret")) };
                diagnostic
                    .label(*declared, format!("`{public}` is declared public"))
                    .help(format!("leave `{public}` out of `public`, or make `{secret}` public too"))
            }
            CheckError::SecretAndPublic { name, span: _, secret } => {
                say(format!("`{name}` is both secret and public")).here("public").label(*secret, "secret")
            }
            CheckError::DivisionByZero { range, span: _ } => match range {
                Some(range) if range.low == range.high => say("division by 0".into()),
                Some(range) => say(format!("this divisor can be 0: it lies in [{}, {}]", range.low, range.high))
                    .help("keep it from 0 with `clip(x, lo, hi)`, or divide by a constant"),
                None => say("this divisor can be 0: its range is not known".into())
                    .help("give it a range with `clip(x, lo, hi)`, or divide by a constant"),
            },
            CheckError::NotConstant { what, span: _ } => say(format!("{what} must be a constant")),
            CheckError::EnvironmentMismatch { id, what, known, span: _ } => {
                say(format!("this {what} is not that of {id}, which has `{known}`"))
            }
            CheckError::NearlyBuiltin { id, builtin, span: _ } => {
                say(format!("unknown environment `{id}`")).help(format!("did you mean `{builtin}`?"))
            }
            CheckError::Misplaced { what, belongs, span: _ } => say(format!("{what} cannot stand here: {belongs}")),
            CheckError::IndexRange { index, length, span: _ } => {
                let diagnostic =
                    say(format!("no element {index}: there {}", if *length == 1 { "is 1".into() } else { format!("are {length}") }));
                diagnostic.help(format!("elements are counted from 0 to {}", length.saturating_sub(1)))
            }
            CheckError::WrongKind { expected, found, span: _ } => say(format!("expected {expected}, found {found}")),
            CheckError::Heads { problem, net, span: _ } => match problem {
                HeadProblem::NoHeads => say(format!("`{net}` has named outputs but no `heads`"))
                    .help("end it with `heads { NAME { LAYER ... } ... }`, one for each output"),
                HeadProblem::NoNames => {
                    say(format!("`{net}` has `heads` but no named outputs")).help("declare them: `-> (mu: [1], log_std: [1])`")
                }
                HeadProblem::NoHead(name) => say(format!("the output `{name}` of `{net}` has no head")),
                HeadProblem::NoOutput(name) => say(format!("the head `{name}` is no output of `{net}`")),
                HeadProblem::NotLast => say(format!("`heads` is the last thing in `{net}`; nothing can follow")),
            },
            CheckError::BadNumber { what, expected, span: _ } => say(format!("{what} must be {expected}")),
            CheckError::InStandard { module, line, text, error } => {
                let mut diagnostic = Diagnostic::from(error.as_ref());
                diagnostic.message = format!("{module} does not fit: {}", diagnostic.message);
                let short: String = text.chars().take(120).collect();
                let diagnostic = diagnostic.here(format!("line {line} of {module}: `{short}`"));
                match diagnostic.help {
                    Some(_) => diagnostic,
                    None => diagnostic.help(format!("`hecc std {}` prints it", module.trim_start_matches("std."))),
                }
            }
        }
    }
}

fn count(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
