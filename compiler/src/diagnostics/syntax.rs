//! The words of syntax errors.

use super::Diagnostic;
use crate::syntax::error::SyntaxError;

impl From<&SyntaxError> for Diagnostic {
    fn from(error: &SyntaxError) -> Self {
        let (code, span) = (error.code(), error.span());
        match error {
            SyntaxError::Unexpected { found, expected, meant, span: _ } => {
                let found = found.as_ref().map(|text| format!("`{text}`"));
                let message = match (expected.as_slice(), &found) {
                    ([], Some(found)) => format!("{found} does not belong here"),
                    ([], None) => "something is missing here".to_string(),
                    (_, Some(found)) => format!("expected {}, found {found}", either(expected)),
                    (_, None) => format!("expected {}, but the line ends here", either(expected)),
                };
                Diagnostic::error(code, message, span).meant(meant.as_deref())
            }
            SyntaxError::Unclosed { bracket, span: _ } => Diagnostic::error(code, format!("this `{bracket}` is never closed"), span),
            SyntaxError::Unopened { bracket, span: _ } => Diagnostic::error(code, format!("this `{bracket}` closes nothing"), span),
            SyntaxError::TooDeep { limit, span: _ } => {
                Diagnostic::error(code, format!("nested more than {limit} deep"), span).help("give a part of it a name with `let`")
            }
            SyntaxError::TooLarge { bytes, limit } => {
                Diagnostic::error(code, format!("the program has {bytes} bytes; at most {limit} are read"), span)
                    .help("data belongs in safetensors files, not in programs")
            }
            SyntaxError::UnclosedString { span: _ } => {
                Diagnostic::error(code, "this string does not end on its line", span).help("end it with `\"`")
            }
            SyntaxError::StrangeCharacter { character, span: _ } => {
                let name = match character {
                    c if c.is_control() => format!("{:?}", c),
                    c => format!("`{c}`"),
                };
                let diagnostic = Diagnostic::error(code, format!("{name} means nothing in this language"), span);
                match character {
                    ';' => diagnostic.help("line ends and white space separate: leave it out"),
                    '#' => diagnostic.help("a comment starts with `//`"),
                    '−' | '–' => diagnostic.help("a minus is `-`"),
                    '“' | '”' | '‘' | '’' => diagnostic.help("a string stands between `\"` and `\"`"),
                    _ => diagnostic,
                }
            }
            SyntaxError::HugeNumber { span: _ } => {
                Diagnostic::error(code, "this number is too large", span).help("the largest is about 1.8e308")
            }
        }
    }
}

/// "a, b or c".
fn either(list: &[&str]) -> String {
    match list {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
