//! What can be wrong with the text of a program: plain data; the words are made in `diagnostics`.

use hecc_plan::Span;

/// A syntax error.
#[derive(Clone, Debug, PartialEq)]
pub enum SyntaxError {
    /// Something else was expected here.
    Unexpected {
        /// What stands here, cut short; `None` at the end of the text.
        found: Option<String>,
        /// What could stand here.
        expected: Vec<&'static str>,
        /// A word that is nearly the one written before.
        meant: Option<String>,
        /// Where.
        span: Span,
    },
    /// A bracket that is never closed.
    Unclosed {
        /// `(`, `[` or `{`.
        bracket: char,
        /// Where it stands.
        span: Span,
    },
    /// A closing bracket without an opening one.
    Unopened {
        /// `)`, `]` or `}`.
        bracket: char,
        /// Where it stands.
        span: Span,
    },
    /// Nested deeper than the compiler follows.
    TooDeep {
        /// The limit.
        limit: usize,
        /// Where it is passed.
        span: Span,
    },
    /// A file larger than the compiler reads.
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A string that does not end on its line.
    UnclosedString {
        /// From the quote to the end of the line.
        span: Span,
    },
    /// A character that no part of the language uses.
    StrangeCharacter {
        /// It.
        character: char,
        /// Where it stands.
        span: Span,
    },
    /// A number that no `f64` holds.
    HugeNumber {
        /// Where it stands.
        span: Span,
    },
}

impl SyntaxError {
    /// Its code, `HE01xx`.
    pub fn code(&self) -> &'static str {
        match self {
            SyntaxError::Unexpected { .. } => "HE0101",
            SyntaxError::Unclosed { .. } => "HE0102",
            SyntaxError::Unopened { .. } => "HE0103",
            SyntaxError::TooDeep { .. } => "HE0104",
            SyntaxError::TooLarge { .. } => "HE0105",
            SyntaxError::UnclosedString { .. } => "HE0106",
            SyntaxError::StrangeCharacter { .. } => "HE0107",
            SyntaxError::HugeNumber { .. } => "HE0108",
        }
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            SyntaxError::Unexpected { span, .. }
            | SyntaxError::Unclosed { span, .. }
            | SyntaxError::Unopened { span, .. }
            | SyntaxError::TooDeep { span, .. }
            | SyntaxError::UnclosedString { span }
            | SyntaxError::StrangeCharacter { span, .. }
            | SyntaxError::HugeNumber { span } => *span,
            SyntaxError::TooLarge { .. } => Span::default(),
        }
    }
}
