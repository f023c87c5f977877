//! A report of made-up figures, to test and to look at how reports are shown.

use hecc_audit::metrics::{luma, psnr, ssim};
use hecc_audit::report::{
    Actions, Attack, Attempt, Chance, Example, Flow, Form, Guessing, Method, Metric, Metrics, Picture, Program, Report, Seen, Target,
    VERSION, View,
};
use hecc_audit::rooms::Room;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// Values about a mean.
pub fn about(rng: &mut ChaCha20Rng, mean: f64, spread: f64, count: usize) -> Vec<f64> {
    (0..count).map(|_| mean + spread * (rng.random::<f64>() + rng.random::<f64>() - 1.0)).collect()
}

/// A picture of somewhat other values.
fn blurred(values: &[f64], rng: &mut ChaCha20Rng, amount: f64) -> Vec<f64> {
    values.iter().map(|v| v + amount * (rng.random::<f64>() - 0.5)).collect()
}

fn noise(count: usize, rng: &mut ChaCha20Rng) -> Vec<f64> {
    (0..count).map(|_| rng.random()).collect()
}

/// Rooms by QGI, at a side.
pub fn rooms(side: usize) -> Attack {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let drawn = Room::several(0, 3, side, side).expect("made-up figures fit each other");
    let mut examples = Vec::new();
    let view = |rgb: &[f64], depth: &[f64], frame: [f64; 4], room: &Room| View {
        pictures: vec![
            Picture::of_planes(rgb, 3, side, side).expect("made-up figures fit each other"),
            Picture::of_planes(depth, 1, side, side).expect("made-up figures fit each other"),
        ],
        frame: Some(frame),
        numbers: Vec::new(),
        caption: format!(
            "PSNR {:.1} dB, SSIM {:.2}; depth {:.1} dB",
            psnr(rgb, &room.rgb).expect("made-up figures fit each other"),
            ssim(
                &luma(rgb, 3).expect("made-up figures fit each other"),
                &luma(&room.rgb, 3).expect("made-up figures fit each other"),
                side,
                side
            )
            .expect("made-up figures fit each other"),
            psnr(depth, &room.depth).expect("made-up figures fit each other")
        ),
    };
    for (index, room) in drawn.iter().enumerate() {
        let mut original = room.view().expect("made-up figures fit each other");
        original.caption = "colours, depth, and the place of an object".to_owned();
        let mut reconstructed = Vec::new();
        for (target, amount) in [(Target::ClearGradients, 0.12), (Target::GuardedGradients { clip: None, noise: 1e-3 }, 0.4)] {
            let (rgb, depth) = (blurred(&room.rgb, &mut rng, amount), blurred(&room.depth, &mut rng, amount / 2.0));
            let frame = room.object.map(|v| v + 0.1 * amount * (rng.random::<f64>() - 0.5));
            reconstructed.push((target, view(&rgb, &depth, frame, room)));
        }
        for target in [Target::Ciphertexts, Target::WrongKey] {
            let (rgb, depth) = (noise(room.rgb.len(), &mut rng), noise(room.depth.len(), &mut rng));
            reconstructed.push((target, view(&rgb, &depth, [0.8, 0.1, 0.4, 0.3], room)));
        }
        examples.push(Example { label: format!("Room {index}"), original, reconstructed });
    }
    let mut reach = |right: u64, psnr: f64, ssim: f64, iou: f64, q: f64, fit: f64| {
        Metrics::default()
            .with_actions(Actions { right, of: 20 })
            .with(Metric::PsnrRgb, &about(&mut rng, psnr, 3.0, 20))
            .with(Metric::SsimRgb, &about(&mut rng, ssim, 0.04, 20))
            .with(Metric::PsnrDepth, &about(&mut rng, psnr + 3.0, 3.0, 20))
            .with(Metric::Iou, &about(&mut rng, iou, iou * 0.05, 20))
            .with(Metric::PredictedQ, &about(&mut rng, q, q / 2.0, 20))
            .with(Metric::GradientMatch, &about(&mut rng, fit, fit / 2.0, 20))
    };
    let targets = vec![
        Attempt::new(Target::ClearGradients, reach(20, 27.3, 0.91, 0.95, 1e-3, 2e-5), 21.4),
        Attempt::new(Target::GuardedGradients { clip: None, noise: 1e-3 }, reach(19, 18.1, 0.44, 0.7, 3.5, 4e-2), 20.9),
        Attempt::new(Target::Ciphertexts, reach(2, 7.9, 0.02, 0.0, 140.0, 0.9), 22.0),
        Attempt::new(Target::WrongKey, reach(4, 8.1, 0.02, 0.0, 160.0, 0.9), 22.3),
    ];
    let guessing = Guessing {
        how: "one of 7 actions, the mean of other rooms, a box in the middle".to_owned(),
        actions: Some(Chance::new(1.0 / 7.0, 20)),
        ..Guessing::default()
    };
    let guessing = guessing
        .with(Metric::PsnrRgb, &about(&mut rng, 13.0, 2.0, 20))
        .with(Metric::SsimRgb, &about(&mut rng, 0.35, 0.05, 20))
        .with(Metric::PsnrDepth, &about(&mut rng, 17.0, 2.0, 20))
        .with(Metric::Iou, &about(&mut rng, 0.15, 0.1, 20))
        .with(Metric::PredictedQ, &about(&mut rng, 95.0, 30.0, 20));
    Attack {
        method: Method::Qgi,
        variant: "RGB with depth".to_owned(),
        batch: 1,
        samples: 20,
        guessing,
        targets,
        examples,
        verdict: String::new(),
    }
}

/// Vectors by QGI.
pub fn vectors() -> Attack {
    let mut rng = ChaCha20Rng::seed_from_u64(2);
    let names = ["cart position", "cart velocity", "pole angle", "pole velocity", "action"];
    let numbers = |values: [f64; 5]| names.iter().zip(values).map(|(name, v)| ((*name).to_owned(), v)).collect();
    let truth = [0.0213, -1.174, 0.0371, 0.4102, 1.0];
    let view = |values, caption: &str| View { numbers: numbers(values), caption: caption.to_owned(), ..View::default() };
    let example = Example {
        label: "Sample 17".to_owned(),
        original: view(truth, ""),
        reconstructed: vec![
            (Target::ClearGradients, view(truth.map(|v| v + 1e-12), "")),
            (Target::Ciphertexts, view([-0.91, 0.311, 0.78, -0.224, 0.0], "")),
        ],
    };
    let mut reach = |right: u64, state: f64| {
        Metrics::default()
            .with_actions(Actions { right, of: 240 })
            .with(Metric::StateError, &about(&mut rng, state, state / 2.0, 240))
            .with(Metric::TargetQ, &about(&mut rng, 40.0 * state, 20.0 * state, 240))
    };
    let targets =
        vec![Attempt::new(Target::ClearGradients, reach(240, 3e-16), 0.02), Attempt::new(Target::Ciphertexts, reach(118, 1.4), 0.4)];
    let guessing =
        Guessing { how: "either action, the mean state".to_owned(), actions: Some(Chance::new(0.5, 240)), ..Guessing::default() };
    let guessing =
        guessing.with(Metric::StateError, &about(&mut rng, 0.9, 0.4, 240)).with(Metric::TargetQ, &about(&mut rng, 40.0, 20.0, 240));
    let variant = "vectors".to_owned();
    Attack { method: Method::Qgi, variant, batch: 1, samples: 240, guessing, targets, examples: vec![example], verdict: String::new() }
}

/// An attempt on an update that leaves the client, as good as one on gradients.
pub fn leaving() -> Attempt {
    let metrics = vectors().targets[0].metrics.clone();
    Attempt::new(Target::DecryptedUpdate, metrics, 0.02)
}

/// What an encrypted plan shows.
pub fn flow() -> Flow {
    let seen = |what: &str, form, bytes, often: &str| Seen { what: what.to_owned(), form, bytes, often: often.to_owned() };
    Flow {
        sees: vec![
            seen("the plan: network shapes, ranges, settings", Form::Public, None, "once"),
            seen("evaluation keys", Form::Public, Some(48 << 20), "once"),
            seen("the batch: s, a, r, s_next, done", Form::Ciphertext, Some(1_884_160), "each update"),
            seen("weights, momenta and target network", Form::Ciphertext, Some(294_912), "each update"),
            seen("when messages come, and how large they are", Form::Public, None, "each update"),
        ],
        secret: ["s", "a", "r", "s_next", "done", "q"].map(str::to_owned).to_vec(),
        agreement: None,
    }
}

/// A report, not yet judged.
pub fn report(attacks: Vec<Attack>) -> Report {
    Report {
        version: VERSION,
        program: Program {
            name: "rooms_dqn.rl".to_owned(),
            fingerprint: "9f2c64aa10be77d1".to_owned(),
            about: "dqn on rooms of 32 by 32; figures made up".to_owned(),
        },
        seed: 0,
        seconds: 41.7,
        summary: String::new(),
        attacks,
        flow: flow(),
        warnings: Vec::new(),
        notes: vec!["Attacked were made-up figures.".to_owned()],
    }
}
