//! What the client computes before it encrypts, through a whole run: features of a state and of the next, and rewards
//! recoded from the state, on `Pendulum-v1`.

use std::f64::consts::{PI, SQRT_2};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hecc_compiler::{Options, compile};
use hecc_plan::Tensors;
use hecc_runtime::engine::{Backend, Engine, EngineError, Update};
use hecc_runtime::session::{Session, Settings, Updater};

const PROGRAM: &str = r#"
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client {
        r <- 0.02 * r + 0.06 - 10 * done + 0.001 * s[2]
        let f = tensor_fourier(atan2(s[1], s[0]), 2, s[2] / 8, 3)
    }
}
net v(f) -> [1] { dense 1 nobias init small }
algorithm evaluation(v) {
    parameter discount, optimizer
    let y = stop(r + discount * (1 - done) * v(f'))
    minimize 0.5 * mean((v(f) - y)^2) over v with optimizer
}
train evaluation(v) { discount = 0.9  batch = 32  updates = 2  warmup = 300  envs = 2  every = 4  optimizer = sgd(lr: 0.1)  evaluate = 2 }
secure ckks { secret = [s, a, r, v]  refresh = client }
"#;

/// K = 2 harmonics of the angle by J = 3 of the speed.
fn features(s: &[f64]) -> Vec<f64> {
    let (angle, speed) = (s[1].atan2(s[0]), s[2] / 8.0);
    let mut f = Vec::new();
    for k in [0.0f64, 1.0, -1.0, 2.0, -2.0] {
        let wave = if k > 0.0 { SQRT_2 * (k * angle).cos() } else { SQRT_2 * (-k * angle).sin() };
        for j in 0..=3 {
            let j = f64::from(j);
            let across = (j * PI * (speed + 1.0) / 2.0).cos() * if j > 0.0 { SQRT_2 } else { 1.0 };
            f.push(if k == 0.0 { 1.0 } else { wave } * across / (1.0 + k * k + j * j / 4.0).sqrt());
        }
    }
    f
}

/// Compares each update with what the formula gives on the batch in the environment's units.
struct Compared(Engine, usize);

impl Updater for Compared {
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let before = states["v.0.weight"].data.clone();
        let update = self.0.update(batch, states)?;
        let rows = |name: &str| batch[name].data.chunks(3).map(features).collect::<Vec<_>>();
        let value = |f: &[f64]| f.iter().zip(&before).map(|(f, w)| f * w).sum::<f64>();
        let mut expected = before.clone();
        for (i, (f, next)) in rows("s").iter().zip(rows("s_next")).enumerate() {
            let y = batch["r"].data[i] + 0.9 * (1.0 - batch["done"].data[i]) * value(&next);
            f.iter().zip(&mut expected).for_each(|(g, w)| *w -= 0.1 * (value(f) - y) * g / 32.0);
        }
        let after = &states["v.0.weight"].data;
        let error = expected.iter().zip(after).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < 1e-9 && *after != before, "update {}: {error:e} off", self.1);
        // The reward of the step, by the angle and the speed before it.
        for ((s, a), r) in batch["s"].data.chunks(3).zip(&batch["a"].data).zip(&batch["r"].data) {
            let angle = s[1].atan2(s[0]);
            let reward = -(angle * angle + 0.1 * s[2] * s[2] + 0.001 * a * a);
            assert!((r - (0.02 * reward + 0.06 + 0.001 * s[2])).abs() < 1e-6, "{r}");
        }
        self.1 += 1;
        Ok(update)
    }
}

#[test]
fn features_and_rewards_are_the_clients() {
    let plan = Arc::new(compile(PROGRAM, &Options::default()).expect("a program that compiles").plan);
    let engine = Engine::new(Arc::clone(&plan), Backend::Clear, Tensors::new(), 0, &mut |_, _| ()).expect("an engine");
    let settings = Settings { folder: None, backend: "clear".to_owned(), episodes: 2, stop_out_of_range: true };
    let session = Session::start(&*plan, settings).expect("starts");
    let mut compared = Compared(engine, 0);
    let outcome = session.run(&mut compared, &AtomicBool::new(false), &mut |_| ()).expect("runs");
    assert_eq!((compared.1, outcome.returns.len()), (2, 2));
    assert!(outcome.returns.iter().all(|r| (-3254.0..0.0).contains(r)), "200 steps each: {:?}", outcome.returns);
}
