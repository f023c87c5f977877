//! One look over the characters before the grammar runs: comments, brackets, strings, strange characters.
//!
//! What is wrong is reported here and blanked out, so that the grammar sees balanced text of bounded nesting
//! in which every byte keeps its place.

use hecc_plan::Span;

use super::ast::Comment;
use super::error::SyntaxError;

/// Deepest nesting of brackets.
pub const MAX_NESTING: usize = 64;
/// Largest file, in bytes.
pub const MAX_BYTES: usize = 1 << 20;
/// Most errors of one file; what follows is rarely news.
pub const MAX_ERRORS: usize = 100;

const ITEM_WORDS: [&str; 7] = ["use", "env", "net", "algorithm", "train", "serve", "secure"];

/// What the scan found.
pub struct Scan {
    /// The text with every faulty character blanked out; the same length as the source.
    pub text: String,
    /// Comments, in order.
    pub comments: Vec<Comment>,
    /// Errors, in order of discovery.
    pub errors: Vec<SyntaxError>,
    /// Whether the text may be given to the grammar.
    pub usable: bool,
}

/// Scans a source text.
pub fn run(source: &str) -> Scan {
    let mut scan = Scan { text: String::new(), comments: Vec::new(), errors: Vec::new(), usable: true };
    if source.len() > MAX_BYTES {
        scan.errors.push(SyntaxError::TooLarge { bytes: source.len(), limit: MAX_BYTES });
        scan.usable = false;
        return scan;
    }
    let mut blanks: Vec<Span> = Vec::new();
    let mut open: Vec<(char, usize)> = Vec::new();
    let mut at = 0;
    while let Some(c) = source[at..].chars().next() {
        let next = at + c.len_utf8();
        match c {
            '/' if source[next..].starts_with('/') => {
                let end = line_end(source, at);
                let text = source[at..end].trim_end().to_string();
                scan.comments.push(Comment { span: span(at, at + text.len()), text });
                at = end;
                continue;
            }
            '"' => {
                let end = line_end(source, next);
                match source[next..end].find('"') {
                    Some(length) => at = next + length + 1,
                    None => {
                        scan.errors.push(SyntaxError::UnclosedString { span: span(at, end) });
                        blanks.push(span(at, end));
                        at = end;
                    }
                }
                continue;
            }
            '(' | '[' | '{' => {
                open.push((c, at));
                if open.len() > MAX_NESTING {
                    scan.errors.push(SyntaxError::TooDeep { limit: MAX_NESTING, span: span(at, next) });
                    scan.usable = false;
                    return scan;
                }
            }
            ')' | ']' | '}' => close(c, at, &mut open, &mut scan.errors, &mut blanks),
            '\n' if !open.is_empty() && starts_item(&source[next..]) => {
                for (bracket, place) in open.drain(..) {
                    unclosed(bracket, place, &mut scan.errors, &mut blanks);
                }
            }
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '\'' | '.' | ',' | ':' | '=' | '<' | '-' | '>' | '+' | '*' | '/' | '^' => {}
            ' ' | '\t' | '\r' | '\n' => {}
            _ => {
                scan.errors.push(SyntaxError::StrangeCharacter { character: c, span: span(at, next) });
                blanks.push(span(at, next));
            }
        }
        at = next;
    }
    for (bracket, place) in open {
        unclosed(bracket, place, &mut scan.errors, &mut blanks);
    }
    // What looks unopened may well have been opened inside of a string that never ended.
    if scan.errors.iter().any(|error| matches!(error, SyntaxError::UnclosedString { .. })) {
        scan.errors.retain(|error| !matches!(error, SyntaxError::Unopened { .. }));
    }
    scan.text = blank_out(source, blanks);
    scan
}

fn close(c: char, at: usize, open: &mut Vec<(char, usize)>, errors: &mut Vec<SyntaxError>, blanks: &mut Vec<Span>) {
    let wanted = match c {
        ')' => '(',
        ']' => '[',
        _ => '{',
    };
    match open.iter().rposition(|(bracket, _)| *bracket == wanted) {
        // A parenthesis does not reach over a brace: the brace is the stronger sign of what was meant.
        Some(place) if c == '}' || open[place..].iter().all(|(bracket, _)| *bracket != '{') => {
            for (bracket, place) in open.drain(place + 1..) {
                unclosed(bracket, place, errors, blanks);
            }
            open.pop();
        }
        _ => {
            errors.push(SyntaxError::Unopened { bracket: c, span: span(at, at + 1) });
            blanks.push(span(at, at + 1));
        }
    }
}

fn unclosed(bracket: char, at: usize, errors: &mut Vec<SyntaxError>, blanks: &mut Vec<Span>) {
    errors.push(SyntaxError::Unclosed { bracket, span: span(at, at + 1) });
    blanks.push(span(at, at + 1));
}

/// Whether a line begins, without indentation, with the keyword of an item: there every bracket should be closed.
fn starts_item(line: &str) -> bool {
    ITEM_WORDS.iter().any(|word| line.strip_prefix(word).is_some_and(|rest| rest.starts_with([' ', '\t'])))
}

fn line_end(source: &str, from: usize) -> usize {
    source[from..].find('\n').map_or(source.len(), |length| from + length)
}

fn blank_out(source: &str, mut blanks: Vec<Span>) -> String {
    blanks.sort();
    let mut text = String::with_capacity(source.len());
    let mut at = 0;
    for blank in blanks {
        let (start, end) = (blank.start as usize, blank.end as usize);
        text.push_str(&source[at..start]);
        text.extend(std::iter::repeat_n(' ', end - start));
        at = end;
    }
    text.push_str(&source[at..]);
    text
}

/// A span from byte offsets, which [`MAX_BYTES`] keeps below `u32::MAX`.
pub fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}
