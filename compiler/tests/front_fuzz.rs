//! The parser, the checker and the formatter never panic, whatever the text.

use hecc_compiler::{check, diagnostics, format};
use proptest::prelude::*;

const PROGRAMS: [&str; 5] = [
    include_str!("programs/cartpole_dqn.rl"),
    include_str!("programs/custom.rl"),
    include_str!("programs/sac_pendulum.rl"),
    include_str!("programs/image_conv.rl"),
    include_str!("programs/tfhe.rl"),
];

fn front(source: &str) {
    if let Err(errors) = check(source) {
        assert!(!errors.is_empty());
        let _ = diagnostics::render(&errors, source, "fuzz.rl", false);
    }
    if let Ok(once) = format(source) {
        let twice = format(&once).expect("what fmt writes parses");
        assert_eq!(once, twice);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(source in "\\PC{0,200}") {
        front(&source);
    }

    #[test]
    fn any_tokens(tokens in prop::collection::vec(prop::sample::select(vec![
        "env", "net", "train", "serve", "secure", "algorithm", "use", "\"X\"", "{", "}", "(", ")", "[", "]", ",", ":", "=", "<-", "->",
        "+", "-", "*", "/", "^", "1", "0.5", "s", "s'", "q", "dense", "relu", "observe", "in", "let", "minimize", "over", "with", "\n", "// c\n",
    ]), 0..60)) {
        front(&tokens.join(" "));
    }

    #[test]
    fn damaged_programs(program in 0..PROGRAMS.len(), cuts in prop::collection::vec((0usize..4000, 0usize..12, "[a-z0-9(){}\\[\\]\n,=+*/. -]{0,4}"), 1..5)) {
        let mut text = PROGRAMS[program].to_string();
        for (at, length, with) in cuts {
            let start = text.char_indices().map(|(i, _)| i).rfind(|i| *i <= at).unwrap_or(0);
            let end = text.char_indices().map(|(i, _)| i).find(|i| *i >= start + length).unwrap_or(text.len());
            text.replace_range(start..end, &with);
        }
        front(&text);
    }
}
