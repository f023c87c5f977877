//! Small insecure plans with every operation: ciphertexts against the clear-text oracle.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hecc_plan::{Op, Tensor, Tensors};
use hecc_runtime::engine::{Backend, Engine, EngineError, Update};

use crate::engine_support::{Builder, batch, every_operation, two_rounds};

fn both(plan: Arc<hecc_plan::Plan>, batch: &Tensors, states: &Tensors, public: &Tensors) -> [(Update, Tensors); 2] {
    [Backend::Ckks, Backend::Clear].map(|backend| {
        let mut states = states.clone();
        let mut engine = Engine::insecure_for_tests(Arc::clone(&plan), backend, public.clone(), 2, &mut |_, _| {}).unwrap();
        let update = engine.update(batch, &mut states).unwrap();
        (update, states)
    })
}

fn worst(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.shape, b.shape);
    a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn every_operation_matches_the_oracle() {
    for (log_n, base2k, scale) in [(11, 52, 40), (11, 26, 36), (12, 52, 45)] {
        let (plan, public) = every_operation(log_n, base2k, scale);
        let data = batch(&plan, 7);
        let [(secret, _), (clear, _)] = both(Arc::new(plan), &data, &Tensors::new(), &public);
        assert_eq!(secret.results.len(), clear.results.len());
        for (name, want) in &clear.results {
            let error = worst(&secret.results[name], want);
            let size = want.data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            println!("2^{log_n} base {base2k} scale {scale} {name:<18} error 2^{:.1} (values to {size:.2})", error.log2());
            assert!(error < (-10.0f64).exp2(), "{name}: {error}");
        }
    }
}

#[test]
fn rounds_states_and_values_match_the_oracle() {
    let plan = Arc::new(two_rounds());
    let data = batch(&plan, 3);
    let states = Tensors::from([("s".to_owned(), Tensor::new(vec![16], (0..16).map(|i| f64::from(i) / 16.0 - 0.4).collect()))]);
    let mut now = [states.clone(), states];
    let mut engines = [Backend::Ckks, Backend::Clear].map(|backend| {
        let (plan, mut calls) = (Arc::clone(&plan), Vec::new());
        let engine = Engine::insecure_for_tests(plan, backend, Tensors::new(), 0, &mut |done, total| calls.push((done, total))).unwrap();
        if backend == Backend::Ckks {
            assert_eq!(calls, [(0, 2), (1, 2), (2, 2)]);
        }
        engine
    });
    for _ in 0..3 {
        let updates: Vec<Update> = engines.iter_mut().zip(&mut now).map(|(engine, states)| engine.update(&data, states).unwrap()).collect();
        assert!(worst(&now[0]["s"], &now[1]["s"]) < (-14.0f64).exp2());
        assert!(worst(&updates[0].results["q"], &updates[1].results["q"]) < (-14.0f64).exp2());
    }
    let update = engines[0].update(&data, &mut now[0]).unwrap();
    let counts = hecc_plan::counts::counts(&plan);
    let framing = |count: usize| 2 * 36 + 2 * 8 + count as u64 * 4;
    assert_eq!(
        update.bytes_to_server,
        counts.bytes_to_server_per_update + framing(plan.inputs.len()) + 2 * 8 + 32 * plan.inputs.len() as u64
    );
    assert_eq!(update.bytes_to_client, counts.bytes_to_client_per_update + framing(plan.outputs.len()));
}

#[test]
fn the_number_of_threads_changes_nothing_but_time() {
    let plan = Arc::new(two_rounds());
    let data = batch(&plan, 9);
    let run = |threads| {
        let mut states = Tensors::from([("s".to_owned(), Tensor::zeros(&[16]))]);
        let mut engine = Engine::insecure_for_tests(Arc::clone(&plan), Backend::Clear, Tensors::new(), threads, &mut |_, _| {}).unwrap();
        engine.update(&data, &mut states).unwrap();
        states
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn bad_data_is_refused_and_leaves_the_states() {
    let plan = Arc::new(two_rounds());
    let good = Tensors::from([("s".to_owned(), Tensor::zeros(&[16]))]);
    let data = batch(&plan, 3);
    for backend in [Backend::Ckks, Backend::Clear] {
        let mut engine = Engine::insecure_for_tests(Arc::clone(&plan), backend, Tensors::new(), 2, &mut |_, _| {}).unwrap();
        let mut code = |data: &Tensors, mut states: Tensors| {
            let before = states.clone();
            let error = engine.update(data, &mut states).unwrap_err();
            assert_eq!(format!("{states:?}"), format!("{before:?}"));
            (error.code(), error.to_string())
        };
        let mut short = data.clone();
        short.insert("x".to_owned(), Tensor::zeros(&[5, 16]));
        let (name, text) = code(&short, good.clone());
        assert_eq!(name, "HE0602");
        assert!(text.contains('5') && text.contains("64"), "{text}");
        let mut misshapen = data.clone();
        misshapen.insert("x".to_owned(), Tensor::zeros(&[64, 15]));
        assert_eq!(code(&misshapen, good.clone()).0, "HE0601");
        let mut missing = data.clone();
        missing.remove("x");
        assert_eq!(code(&missing, good.clone()).0, "HE0601");
        let mut infinite = data.clone();
        infinite.get_mut("x").unwrap().data[17] = f64::INFINITY;
        assert_eq!(code(&infinite, good.clone()).0, "HE0608");
        assert_eq!(code(&data, Tensors::new()).0, "HE0601");
        assert_eq!(code(&data, Tensors::from([("s".to_owned(), Tensor::zeros(&[4]))])).0, "HE0601");
        assert_eq!(code(&data, Tensors::from([("s".to_owned(), Tensor::new(vec![16], vec![f64::NAN; 16]))])).0, "HE0608");
        let large = Tensors::from([("s".to_owned(), Tensor::new(vec![16], vec![3e6; 16]))]);
        assert_eq!(code(&data, large).0, "HE0613");
        engine.update(&data, &mut good.clone()).unwrap();
    }
}

#[test]
fn values_beyond_the_budget_are_refused() {
    let mut b = Builder::new(11, 52, 40, 104);
    let x = b.input("x", 45);
    b.output("y", x);
    let plan = Arc::new(b.finish());
    let mut engine = Engine::insecure_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 1, &mut |_, _| {}).unwrap();
    let mut data = batch(&plan, 1);
    data.get_mut("x").unwrap().data[3] = 7.9;
    let update = engine.update(&data, &mut Tensors::new()).unwrap();
    assert!((update.results["y"].data[3] - 7.9).abs() < 1e-6);
    data.get_mut("x").unwrap().data[3] = 15.9;
    assert_eq!(engine.update(&data, &mut Tensors::new()).unwrap_err().code(), "HE0613");
    data.get_mut("x").unwrap().data[3] = 17.0;
    assert_eq!(engine.update(&data, &mut Tensors::new()).unwrap_err().code(), "HE0610");
}

#[test]
fn insecure_plans_and_missing_public_arrays_are_refused() {
    let (plan, public) = every_operation(11, 52, 40);
    let plan = Arc::new(plan);
    let refused = |result: Result<Engine, EngineError>| result.err().map(|error| error.code());
    assert_eq!(refused(Engine::new(Arc::clone(&plan), Backend::Ckks, public, 1, &mut |_, _| {})), Some("HE0501"));
    for backend in [Backend::Ckks, Backend::Clear] {
        let engine = Engine::insecure_for_tests(Arc::clone(&plan), backend, Tensors::new(), 2, &mut |_, _| {});
        assert_eq!(refused(engine), Some("HE0601"));
    }
}

#[test]
fn long_sums_stay_exact() {
    let mut b = Builder::new(11, 54, 40, 162);
    let x = b.input("x", 162);
    let mut sum = b.step(Op::Narrow(x), 40, 162);
    for _ in 0..13 {
        sum = b.step(Op::Add(sum, sum), 40, 162);
    }
    let back = b.step(Op::MulConst { a: sum, c: 1.0 / 8192.0, bits: 40 }, 40, 122);
    b.output("y", back);
    let plan = b.finish();
    let data = batch(&plan, 2);
    let [(secret, _), (clear, _)] = both(Arc::new(plan), &data, &Tensors::new(), &Tensors::new());
    let error = worst(&secret.results["y"], &clear.results["y"]);
    assert!(error < (-14.0f64).exp2(), "{error}");
}
