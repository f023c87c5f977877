//! The session's data path in every built-in environment: gathering, exploring, evaluating.

use hecc_plan::{
    ActionSpec, ClearId, ClearOp, ClearProgram, Collect, EnvSpec, Explore, Function, ObservationSpec, Run, Tensor, Tensors, Training,
};
use hecc_runtime::session::SessionError;
use hecc_runtime::session::collect::{Actor, Collector};
use hecc_runtime::session::policy::{self, Acting, InTheClear};
use hecc_runtime::session::random::{Purpose, stream};
use hecc_runtime::session::replay::{Columns, Replay};

/// A run in an environment that observes `dim` numbers, with the policy that `act` builds.
fn training(id: &str, dim: usize, action: ActionSpec, act: impl FnOnce(&mut ClearProgram) -> ClearId) -> Training {
    let mut policy = ClearProgram::default();
    let act = act(&mut policy);
    let shape = ObservationSpec { name: "s".to_owned(), shape: vec![dim], ranges: vec![[-30.0, 30.0]; dim] };
    Training {
        served: None,
        env: EnvSpec {
            id: id.to_owned(),
            observations: vec![shape],
            action: ("a".to_owned(), action),
            reward: ("r".to_owned(), [-17.0, 1.0]),
            recode: None,
        },
        run: Run {
            batch: 16,
            updates: 1,
            warmup: 100,
            capacity: 100_000,
            envs: 4,
            every: 4,
            collect: Collect::Online,
            n_step: 5,
            discount: 0.9,
            average: None,
            seed: 0,
            evaluate: 3,
            checkpoint: 10,
            explore: Explore::Policy,
            out_of_range: hecc_plan::Escape::Warn,
        },
        policy,
        act,
        watch: Default::default(),
        release: Vec::new(),
    }
}

fn observed(program: &mut ClearProgram, dim: usize) -> ClearId {
    program.push(ClearOp::Batch { name: "s".to_owned(), dim })
}

/// The same for every observation: zeros, of which the first is the largest.
fn still(dim: usize, width: usize) -> impl FnOnce(&mut ClearProgram) -> ClearId {
    move |program| {
        let s = observed(program, dim);
        let part = program.push(ClearOp::Slice { x: s, start: 0, len: 1 });
        let zero = program.push(ClearOp::Affine { x: part, factor: 0.0, offset: 0.0 });
        program.push(ClearOp::Concat(vec![zero; width]))
    }
}

/// Returns of greedy episodes that nobody stops.
fn evaluate(training: &Training, weights: &Tensors, episodes: usize) -> Result<Vec<f64>, SessionError> {
    let mut rng = stream(0, Purpose::Evaluation(None));
    let mut acting = InTheClear(training);
    let returns = policy::evaluate(&training.env, &mut acting, weights, episodes, &mut rng, &mut |_| true)?;
    Ok(returns.unwrap_or_default())
}

#[test]
fn episodes_end_where_each_environment_ends_them() {
    let returns = |id: &str, dim: usize, action: ActionSpec, width: usize| {
        let training = training(id, dim, action, still(dim, width));
        evaluate(&training, &Tensors::new(), 3).expect("runs")
    };
    assert_eq!(returns("MountainCar-v0", 2, ActionSpec::Discrete(3), 3), [-200.0; 3]);
    assert_eq!(returns("Acrobot-v1", 6, ActionSpec::Discrete(3), 3), [-500.0; 3]);
    assert!(returns("CartPole-v1", 4, ActionSpec::Discrete(2), 2).iter().all(|r| (8.0..=11.0).contains(r)), "it falls to one side");
    // Without a connection every user has the lowest utility.
    assert_eq!(returns("mobile-small-central-v0", 35, ActionSpec::MultiDiscrete(5, 4), 20), [-100.0; 3]);
    // A pendulum that hangs or swings around the bottom costs about π² a step.
    let swings = returns("Pendulum-v1", 3, ActionSpec::Continuous(vec![[-2.0, 2.0]]), 1);
    assert!(swings.iter().all(|r| (-2000.0..-700.0).contains(r)), "{swings:?}");
}

/// tanh(w·s + 0.5 noise), as a policy that draws its actions.
fn gaussian(program: &mut ClearProgram) -> ClearId {
    let s = observed(program, 3);
    let weight = program.push(ClearOp::State("mu.0.weight".to_owned()));
    let mu = program.push(ClearOp::Dense { x: s, weight, bias: None });
    let noise = program.push(ClearOp::Batch { name: "e".to_owned(), dim: 1 });
    let noise = program.push(ClearOp::Affine { x: noise, factor: 0.5, offset: 0.0 });
    let u = program.push(ClearOp::Add(mu, noise));
    program.push(ClearOp::Map(Function::Tanh, u))
}

fn pendulum() -> Training {
    training("Pendulum-v1", 3, ActionSpec::Continuous(vec![[-2.0, 2.0]]), gaussian)
}

fn weights() -> Tensors {
    Tensors::from([("mu.0.weight".to_owned(), Tensor::new(vec![1, 3], vec![0.1, -0.4, 0.05]))])
}

#[test]
fn a_policy_that_draws_its_actions_is_evaluated_in_the_middle() {
    let training = pendulum();
    let observations: [&[f64]; 2] = [&[1.0, 0.0, 0.0], &[0.0, 1.0, -8.0]];
    let greedy = InTheClear(&training).act(&weights(), &observations, None).expect("acts");
    let expected = [0.1f64, -0.8].map(|u| 2.0 * u.tanh());
    for (action, want) in greedy.iter().zip(expected) {
        let [got] = action.encode(&training.env.action.1).try_into().expect("one number");
        assert!((got - want).abs() < 1e-15, "{got} is not {want}, in the units of a torque");
    }
    let mut rng = stream(3, Purpose::Actions);
    let drawn: Vec<f64> = (0..4000)
        .flat_map(|_| InTheClear(&training).act(&weights(), &observations[..1], Some(&mut rng)).expect("acts"))
        .map(|action| (action.encode(&training.env.action.1)[0] / 2.0).atanh())
        .collect();
    let mean = drawn.iter().sum::<f64>() / 4000.0;
    let deviation = (drawn.iter().map(|u| (u - mean).powi(2)).sum::<f64>() / 4000.0).sqrt();
    assert!((mean - 0.1).abs() < 0.03 && (deviation - 0.5).abs() < 0.03, "{mean}, {deviation}");
}

#[test]
fn torques_are_gathered_in_their_units_and_time_limits_are_no_end() {
    let mut training = pendulum();
    // r <- 0.02 r + 0.06 + 1000 done + s[2] - s_next[2], of each step.
    let mut recode = ClearProgram::default();
    let r = recode.push(ClearOp::Batch { name: "r".to_owned(), dim: 1 });
    let r = recode.push(ClearOp::Affine { x: r, factor: 0.02, offset: 0.06 });
    let done = recode.push(ClearOp::Batch { name: "done".to_owned(), dim: 1 });
    let done = recode.push(ClearOp::Affine { x: done, factor: 1000.0, offset: 0.0 });
    let [speed, next] = ["s", "s_next"].map(|name| {
        let s = recode.push(ClearOp::Batch { name: name.to_owned(), dim: 3 });
        recode.push(ClearOp::Slice { x: s, start: 2, len: 1 })
    });
    let difference = recode.push(ClearOp::Sub(speed, next));
    let sum = recode.push(ClearOp::Add(r, done));
    let sum = recode.push(ClearOp::Add(sum, difference));
    training.env.recode = Some((recode, sum));
    let weights = weights();
    for (random, n) in [(true, 1), (false, 1), (false, 5)] {
        training.run.n_step = n;
        let mut acting = InTheClear(&training);
        let mut replay = Replay::new(Columns::new(&training.env), 100_000);
        let mut collector = Collector::start(&training, 7).expect("starts");
        for _ in 0..450 {
            let actor = if random { Actor::Random } else { Actor::Policy(&mut acting, &weights) };
            collector.steps(4, actor, &mut replay).expect("steps");
        }
        // Two whole episodes in each of four environments, whose last n - 1 steps have no n-th successor, and a part.
        assert_eq!(replay.len(), 4 * (2 * (200 - (n - 1)) + 50 - (n - 1)), "{random} {n}");
        assert!(collector.out_of_range().is_empty());
        let rows: Vec<&[f64]> = replay.contents().0.chunks(9).collect();
        assert!(rows.iter().all(|row| row[8] == 0.0), "a time limit is not an end");
        let torques: Vec<f64> = rows.iter().map(|row| row[6]).collect();
        let [low, high] = torques.iter().fold([0.0f64; 2], |[low, high], &v| [low.min(v), high.max(v)]);
        assert!((-2.0..-1.5).contains(&low) && (1.5..2.0).contains(&high), "{low} to {high}");
        if n == 1 {
            for row in rows {
                let angle = row[1].atan2(row[0]);
                let cost = angle * angle + 0.1 * row[2] * row[2] + 0.001 * row[6] * row[6];
                let reward = -0.02 * cost + 0.06 + row[2] - row[5];
                // Observations are single precision.
                assert!((row[7] - reward).abs() < 1e-5, "{} is not {reward}", row[7]);
            }
        }
    }
}

#[test]
fn weights_that_are_no_numbers_are_an_error() {
    let training = pendulum();
    let weights = Tensors::from([("mu.0.weight".to_owned(), Tensor::new(vec![1, 3], vec![f64::NAN; 3]))]);
    let error = evaluate(&training, &weights, 1).expect_err("no torque");
    assert!(error.to_string().contains("a vector with NaN in it"), "{error}");
}

#[test]
fn several_choices_are_gathered_one_hot() {
    let mut training = training("mobile-small-central-v0", 35, ActionSpec::MultiDiscrete(5, 4), still(35, 20));
    training.run.explore = Explore::Epsilon(1.0, 0.5, 100);
    let mut replay = Replay::new(Columns::new(&training.env), 1000);
    let mut collector = Collector::start(&training, 7).expect("starts");
    let (mut acting, none) = (InTheClear(&training), Tensors::new());
    (0..30).for_each(|_| collector.steps(4, Actor::Policy(&mut acting, &none), &mut replay).expect("steps"));
    assert_eq!(replay.len(), 4 * 26);
    let rows: Vec<&[f64]> = replay.contents().0.chunks(2 * 35 + 20 + 2).collect();
    for row in &rows {
        assert!(row[70..90].chunks(4).all(|choice| choice.iter().sum::<f64>() == 1.0 && choice.iter().all(|v| [0.0, 1.0].contains(v))));
    }
    assert!(rows.iter().any(|row| row[70..90].chunks(4).any(|choice| choice[3] == 1.0)), "it explores");
    assert!(rows.iter().all(|row| row[..70].iter().all(|v| (-1.0..=1.0).contains(v))));
}

#[test]
fn choices_are_drawn_by_the_softmax_of_what_acts_where_the_policy_explores() {
    // Logits 0 and log 3: a quarter and three quarters.
    let act = |program: &mut ClearProgram| {
        let s = observed(program, 4);
        let part = program.push(ClearOp::Slice { x: s, start: 0, len: 1 });
        let [first, second] = [0.0, 3.0f64.ln()].map(|offset| program.push(ClearOp::Affine { x: part, factor: 0.0, offset }));
        program.push(ClearOp::Concat(vec![first, second]))
    };
    let mut training = training("CartPole-v1", 4, ActionSpec::Discrete(2), act);
    let observations = [[0.5; 4].as_slice(); 4000];
    let second = |training: &Training, rng: Option<&mut rand_chacha::ChaCha20Rng>| {
        let actions = InTheClear(training).act(&Tensors::new(), &observations, rng).expect("acts");
        actions.iter().map(|action| action.encode(&training.env.action.1)[1]).sum::<f64>() / 4000.0
    };
    let drawn = second(&training, Some(&mut stream(3, Purpose::Actions)));
    assert!((drawn - 0.75).abs() < 0.03, "{drawn}");
    assert_eq!(second(&training, None), 1.0, "greedy");
    training.run.explore = Explore::Epsilon(0.5, 0.5, 1);
    assert_eq!(second(&training, Some(&mut stream(3, Purpose::Actions))), 1.0, "chance is not the policy's");
}
