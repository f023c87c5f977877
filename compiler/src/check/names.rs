//! "Did you mean": the candidate nearest to a misspelt name.

/// The nearest candidate, if it is near enough to be what was meant; the first of equals.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let letters = name.chars().count();
    // A name of one letter is near only to itself in the other case.
    let limit = (letters / 3).clamp(1, 3).min(letters.saturating_sub(1));
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        // Names of very different lengths are never near; this also bounds the work on hostile names.
        if candidate == name || candidate.len().abs_diff(name.len()) > limit {
            continue;
        }
        let distance = strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase());
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_string())
}
