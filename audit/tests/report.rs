//! What a report makes of measurements, and how it shows them.

use hecc_audit::report::{
    Actions, Attempt, Chance, Form, Metric, Metrics, Picture, PictureError, Report, ReportError, Seen, Standing, Target, html, number, text,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::report_support::{about, leaving, report, rooms, vectors};

fn standings(report: &Report) -> Vec<Standing> {
    report.attacks.iter().flat_map(|attack| attack.targets.iter().map(|attempt| attempt.standing)).collect()
}

#[test]
fn gradients_give_away_and_ciphertexts_do_not() {
    let report = report(vec![rooms(32), vectors()]).judged();
    use Standing::{GivenAway, Guessing};
    assert_eq!(standings(&report), [GivenAway, GivenAway, Guessing, Guessing, GivenAway, Guessing]);
    assert!(!report.server_learns());
    let agreement = report.flow.agreement.as_ref().unwrap();
    assert!(agreement.agrees, "{}", agreement.why);
    assert!(report.summary.contains("no more to the same attacks than guessing"), "{}", report.summary);
    let verdict = &report.attacks[1].verdict;
    assert!(verdict.contains("The gradients in the clear give away the action in 240 of 240 samples"), "{verdict}");
    assert!(
        verdict.contains(
            "With the ciphertexts the attack does no better than guessing: it finds the action in 118 of 240, and guessing in 95 to 145"
        ),
        "{verdict}"
    );
}

#[test]
fn ciphertexts_that_leak_raise_the_alarm() {
    let mut attack = vectors();
    attack.targets[1].metrics.actions = Some(Actions { right: 146, of: 240 });
    let report = report(vec![attack]).judged();
    assert_eq!(report.attacks[0].targets[1].standing, Standing::Better);
    assert!(report.server_learns() && !report.flow.agreement.as_ref().unwrap().agrees);
    assert!(report.summary.contains("do not use this plan"), "{}", report.summary);
    assert!(html::page(&report).unwrap().contains("summary bad"));
}

#[test]
fn a_state_nearer_than_the_mean_is_a_leak() {
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let mut attack = vectors();
    attack.targets[1].metrics = attack.targets[1].metrics.clone().with(Metric::StateError, &about(&mut rng, 0.7, 0.4, 240));
    let report = report(vec![attack]).judged();
    assert_eq!(report.attacks[0].targets[1].standing, Standing::Better, "0.7 against 0.9 over 240 samples is no accident");
}

#[test]
fn so_few_samples_that_guessing_gets_them_all_say_nothing_by_their_actions() {
    let mut attack = vectors();
    attack.guessing.actions = Some(Chance::new(0.5, 3));
    attack.targets = vec![Attempt::new(Target::Ciphertexts, Metrics::default().with_actions(Actions { right: 3, of: 3 }), 0.0)];
    assert_eq!(report(vec![attack]).judged().attacks[0].targets[0].standing, Standing::Guessing);
}

#[test]
fn three_pictures_that_anyone_recognises_are_enough() {
    let mut attack = vectors();
    attack.guessing = attack.guessing.with(Metric::PsnrRgb, &[12.0, 15.0, 10.0]);
    let of = |values: &[f64]| Attempt::new(Target::ClearGradients, Metrics::default().with(Metric::PsnrRgb, values), 0.0);
    attack.targets = vec![of(&[25.0, 33.0, 21.5]), of(&[14.0, 20.0, 12.0]), of(&[33.0])];
    let found = standings(&report(vec![attack]).judged());
    assert_eq!(found, [Standing::GivenAway, Standing::Guessing, Standing::Guessing]);
}

#[test]
fn a_good_fit_of_the_gradient_alone_is_no_leak() {
    let mut attack = vectors();
    attack.guessing = attack.guessing.with(Metric::GradientMatch, &[1.0, 0.9]);
    attack.targets = vec![Attempt::new(Target::Ciphertexts, Metrics::default().with(Metric::GradientMatch, &[1e-9, 1e-9]), 0.0)];
    assert_eq!(report(vec![attack]).judged().attacks[0].targets[0].standing, Standing::Guessing);
}

#[test]
fn the_plan_must_say_what_was_attacked() {
    let mut attack = vectors();
    attack.targets.push(leaving());
    let unsaid = report(vec![attack.clone()]).judged();
    assert!(!unsaid.flow.agreement.as_ref().unwrap().agrees, "the plan has no such thing");
    assert!(unsaid.summary.contains("encryption does not help"), "{}", unsaid.summary);
    let mut said = report(vec![attack]);
    said.flow.sees.push(Seen { what: "the new weights".to_owned(), form: Form::Data, bytes: None, often: "each update".to_owned() });
    let said = said.judged();
    assert!(said.flow.agreement.as_ref().unwrap().agrees && said.server_learns());
    let mut untried = report(vec![vectors()]);
    untried.flow = said.flow.clone();
    let untried = untried.judged().flow.agreement.unwrap();
    assert!(!untried.agrees && untried.why.contains("the new weights"), "{}", untried.why);
    let mut unmeasured = vectors();
    unmeasured.targets.truncate(1);
    assert!(!report(vec![unmeasured]).judged().flow.agreement.unwrap().agrees, "nothing was tried on ciphertexts");
}

#[test]
fn json_comes_back_as_it_went() {
    let report = report(vec![rooms(32), vectors()]).judged();
    let json = report.json().unwrap();
    assert_eq!(Report::of_json(&json).unwrap(), report);
    let later = json.replacen("\"version\": 1", "\"version\": 2", 1);
    assert!(matches!(Report::of_json(&later), Err(ReportError::Version(2))));
    assert!(matches!(Report::of_json("{}"), Err(ReportError::Json(_))));
}

#[test]
fn the_page_needs_nothing_else_and_escapes_what_it_shows() {
    let mut report = report(vec![rooms(32), vectors()]);
    report.program.name = "<script>alert(1)</script>\"'".to_owned();
    report.warnings.push("a <b> & another".to_owned());
    let page = html::page(&report.judged()).unwrap();
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && page.contains("a &lt;b&gt; &amp; another"));
    assert!(!page.contains("http:") && !page.contains("https:") && !page.contains("<link"));
    // Three rooms, each as it was and from four targets, in colours and depth.
    assert_eq!(page.matches("src=\"data:image/png;base64,").count(), 3 * 5 * 2);
    for element in ["section", "table", "tbody", "figure", "div", "details", "p"] {
        let opened = page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
        assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
    }
}

#[test]
fn the_text_marks_what_guessing_does_not_reach() {
    let shown = text::text(&report(vec![vectors()]).judged());
    assert!(shown.contains("240 of 240 *") && shown.contains("118 of 240 ") && !shown.contains("118 of 240 *"), "{shown}");
    assert!(shown.contains("95 to 145") && shown.contains("Measured and plan agree") && shown.contains("1.8 MiB"), "{shown}");
}

#[test]
fn pictures_are_pngs_of_what_they_hold() {
    let picture = Picture::of_planes(&[0.0, 1.0, 0.5, f64::NAN, -3.0, 7.0], 3, 1, 2).unwrap();
    assert_eq!(picture.pixels, [0, 128, 0, 255, 0, 255]);
    let file = picture.png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    reader.next_frame(&mut pixels).unwrap();
    assert_eq!(pixels, picture.pixels);
    assert_eq!(Picture::of_planes(&[0.0; 4], 2, 1, 2), Err(PictureError::Planes(2)));
    for (height, width) in [(1, 3), (0, 0), (usize::MAX, usize::MAX)] {
        assert!(matches!(Picture::of_planes(&[0.0; 2], 1, height, width), Err(PictureError::Size { .. })));
    }
    let lies = Picture { height: 1000, width: 1000, planes: 3, pixels: vec![0; 3] };
    assert!(matches!(lies.png(), Err(PictureError::Png(_))));
}

#[test]
fn numbers_read_well() {
    let shown = [0.0, 1e-12, 0.0213, 1.5, 27.31, 240.0, -3.0e7, f64::NAN].map(number);
    assert_eq!(shown, ["0", "1.0e-12", "0.021", "1.50", "27.3", "240", "-3.0e7", "-"]);
}
