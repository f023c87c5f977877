//! Layout and colour.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use hecc_plan::Span;

use super::{Diagnostic, Severity};

/// Characters of a source line shown on either side of what is underlined.
const CONTEXT: usize = 100;

/// Renders diagnostics for a terminal, one after the other.
pub fn render(diagnostics: &[Diagnostic], source: &str, path: &str, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&one(diagnostic, source, path, &renderer));
        out.push_str("\n\n");
    }
    out
}

/// A line of the source, cut to what can be read, with the labels in it.
struct Shown {
    number: usize,
    text: String,
    labels: Vec<(Range<usize>, String, bool)>,
}

fn one(diagnostic: &Diagnostic, source: &str, path: &str, renderer: &Renderer) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut lines: Vec<Shown> = Vec::new();
    for (at, label) in diagnostic.labels.iter().enumerate() {
        let (number, start, text) = line_of(source, label.span);
        let end = (label.span.end as usize).clamp(label.span.start as usize, start + text.len());
        let place = (label.span.start as usize).min(start + text.len()) - start..end - start;
        match lines.iter_mut().find(|line| line.number == number) {
            // Two labels on one short line share it; on a long one each gets its own cut.
            Some(line) if text.len() <= 2 * CONTEXT => line.labels.push((place, label.text.clone(), at == 0)),
            _ => {
                let (text, place) = cut(text, place);
                lines.push(Shown { number, text, labels: vec![(place, label.text.clone(), at == 0)] });
            }
        }
    }
    let mut group = level
        .primary_title(diagnostic.message.as_str())
        .id(diagnostic.code)
        .elements(Vec::<Snippet<'_, annotate_snippets::Annotation<'_>>>::new());
    for line in &lines {
        let annotations = line.labels.iter().map(|(place, text, primary)| {
            let kind = if *primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            kind.span(place.clone()).label((!text.is_empty()).then_some(text.as_str()))
        });
        let snippet = Snippet::source(line.text.as_str()).line_start(line.number).path(path).annotations(annotations);
        group = group.element(snippet);
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// Number, first byte and text of the line where a span starts.
fn line_of(source: &str, span: Span) -> (usize, usize, &str) {
    let mut at = (span.start as usize).min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    let start = source[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = source[at..].find('\n').map_or(source.len(), |length| at + length);
    let number = source.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
    (number, start, &source[start..end])
}

/// Cuts a long line around a place.
fn cut(text: &str, place: Range<usize>) -> (String, Range<usize>) {
    if text.len() <= 2 * CONTEXT {
        return (text.to_string(), place);
    }
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let from = boundary(place.start.saturating_sub(CONTEXT));
    let to = boundary((place.start + CONTEXT).min(text.len()));
    let (before, after) = (if from > 0 { "..." } else { "" }, if to < text.len() { "..." } else { "" });
    let shift = before.len();
    let place = place.start - from + shift..boundary(place.end.min(to)).max(place.start) - from + shift;
    (format!("{before}{}{after}", &text[from..to]), place)
}
