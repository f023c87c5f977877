//! Gradients of random networks and losses against central differences.

use std::collections::BTreeMap;

use hecc_compiler::check::hir::{Pins, Range};
use hecc_compiler::tensor::autodiff::gradients;
use hecc_compiler::tensor::eval::{Exact, Functions, eval};
use hecc_compiler::tensor::graph::{Elementwise, Map};
use hecc_compiler::tensor::{Data, Graph, Id, Op, Shape};
use hecc_plan::{Function, Span};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{Fitted, Numbers};

const BATCH: usize = 3;
/// Distance from a kink below which a difference quotient says nothing.
const KINK: f64 = 1e-3;

/// Polynomials of degree 5 or as pinned.
#[derive(Default)]
struct Polynomials(Fitted);

impl Functions for Polynomials {
    fn map(&self, map: &Map, x: f64) -> f64 {
        self.0.eval(map, x, 1e-2, 5)
    }

    fn abs(&self, pins: &Pins, x: f64) -> f64 {
        self.map(&Map { function: Elementwise::Named(Function::Abs), order: 0, pins: *pins }, x)
    }
}

#[derive(Clone, Debug)]
struct Layer {
    width: usize,
    bias: bool,
    residual: bool,
    activation: Option<Elementwise>,
}

#[derive(Clone, Copy, Debug)]
enum Loss {
    Dot,
    Power(u32),
    MeanElements,
    LargerOfTwo,
    SmallerOfTwo,
    Stop,
    Slice,
    Place,
    Broadcast,
    Centred,
    Next,
    BatchSquare,
}

#[derive(Clone, Debug)]
struct Case {
    inputs: usize,
    layers: Vec<Layer>,
    losses: Vec<(Loss, f64)>,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    use Function as F;
    let named = [F::Relu, F::Silu, F::Gelu, F::Tanh, F::Sigmoid, F::Softplus, F::Mish, F::Exp, F::Abs, F::Sin, F::Cos, F::Square];
    let mut functions: Vec<Option<Elementwise>> = named.iter().map(|&f| Some(Elementwise::Named(f))).collect();
    functions.push(Some(Elementwise::Polynomial(vec![0.1, -0.5, 0.25, 0.125])));
    functions.push(None);
    let layer = (1usize..=6, any::<bool>(), any::<bool>(), select(functions)).prop_map(|(width, bias, residual, activation)| Layer {
        width,
        bias,
        residual,
        activation,
    });
    let losses = vec![
        Loss::Dot,
        Loss::Power(2),
        Loss::Power(3),
        Loss::Power(5),
        Loss::MeanElements,
        Loss::LargerOfTwo,
        Loss::SmallerOfTwo,
        Loss::Stop,
        Loss::Slice,
        Loss::Place,
        Loss::Broadcast,
        Loss::Centred,
        Loss::Next,
        Loss::BatchSquare,
    ];
    let losses = prop::collection::vec((select(losses), -1.0f64..1.0), 1..=3);
    (1usize..=5, prop::collection::vec(layer, 1..=3), losses, any::<u64>()).prop_map(|(inputs, layers, losses, seed)| Case {
        inputs,
        layers,
        losses,
        seed,
    })
}

/// Builds a case. What is stopped stands as a `stop` or, to hold it still, as a state of its own.
struct Building {
    graph: Graph,
    parameters: Vec<(String, Id)>,
    stopped: Vec<Id>,
    hold: bool,
}

impl Building {
    fn push(&mut self, op: Op, operands: &[Id], shape: Shape) -> Id {
        self.graph.push(op, operands, shape, Span::default())
    }

    fn like(&mut self, op: Op, operands: &[Id]) -> Id {
        let shape = self.graph.shape(operands[0]);
        self.push(op, operands, shape)
    }

    fn dim(&self, id: Id) -> usize {
        match self.graph.shape(id) {
            Shape::Sample(d) | Shape::Vector(d) => d,
            Shape::Matrix(o, i) => o * i,
        }
    }

    fn parameter(&mut self, name: String, shape: Shape) -> Id {
        if let Some((_, id)) = self.parameters.iter().find(|(n, _)| *n == name) {
            return *id;
        }
        let id = self.push(Op::State(name.clone()), &[], shape);
        self.parameters.push((name, id));
        id
    }

    fn stop(&mut self, x: Id) -> Id {
        let id = if self.hold {
            let shape = self.graph.shape(x);
            self.push(Op::State(format!("held {}", self.stopped.len())), &[], shape)
        } else {
            self.like(Op::Stop, &[x])
        };
        self.stopped.push(id);
        id
    }

    fn network(&mut self, case: &Case, mut x: Id) -> Id {
        for (index, layer) in case.layers.iter().enumerate() {
            let w = self.parameter(format!("{index}.weight"), Shape::Matrix(layer.width, self.dim(x)));
            let mut y = self.push(Op::Dense, &[x, w], Shape::Sample(layer.width));
            if layer.bias {
                let b = self.parameter(format!("{index}.bias"), Shape::Vector(layer.width));
                let b = self.push(Op::Spread, &[b], Shape::Sample(layer.width));
                y = self.like(Op::Add, &[y, b]);
            }
            let before = y;
            if let Some(function) = &layer.activation {
                let pins = Pins { degree: None, range: Some(Range { low: -4.0, high: 3.5 }), within: None };
                y = self.like(Op::Map(Map { function: function.clone(), order: 0, pins }), &[y]);
            }
            x = if layer.residual { self.like(Op::Add, &[before, y]) } else { y };
        }
        x
    }

    fn sum(&mut self, x: Id) -> Id {
        self.push(Op::SumElements, &[x], Shape::Sample(1))
    }

    /// One number per sample.
    fn loss(&mut self, case: &Case, loss: Loss, y: Id) -> Id {
        let d = self.dim(y);
        let pins = Pins { degree: Some(4), range: Some(Range { low: -5.0, high: 5.0 }), within: None };
        match loss {
            Loss::Dot => {
                let a = self.push(Op::Data(Data::Action), &[], Shape::Sample(d));
                let product = self.like(Op::Mul, &[y, a]);
                let dot = self.sum(product);
                let r = self.push(Op::Data(Data::Reward), &[], Shape::Sample(1));
                let e = self.like(Op::Sub, &[dot, r]);
                self.like(Op::Mul, &[e, e])
            }
            Loss::Power(n) => {
                let mut power = y;
                for _ in 1..n {
                    power = self.like(Op::Mul, &[power, y]);
                }
                self.sum(power)
            }
            Loss::MeanElements => {
                let sum = self.sum(y);
                let mean = self.like(Op::Scale(1.0 / d as f64), &[sum]);
                self.like(Op::Offset(0.25), &[mean])
            }
            Loss::LargerOfTwo | Loss::SmallerOfTwo => {
                let a = self.push(Op::Data(Data::Action), &[], Shape::Sample(d));
                let larger = matches!(loss, Loss::LargerOfTwo);
                let chosen = self.like(Op::Extremum { larger, pins }, &[y, a]);
                self.sum(chosen)
            }
            Loss::Stop => {
                let held = self.stop(y);
                let difference = self.like(Op::Sub, &[held, y]);
                let shifted = self.like(Op::Offset(-0.75), &[difference]);
                let product = self.like(Op::Mul, &[shifted, held]);
                let all = self.like(Op::Mul, &[product, y]);
                self.sum(all)
            }
            Loss::Slice => {
                let part = self.push(Op::Slice { start: d / 2, step: 1 }, &[y], Shape::Sample(d - d / 2));
                let turns = self.push(Op::Slice { start: 0, step: 2 }, &[y], Shape::Sample(d.div_ceil(2)));
                let square = self.like(Op::Mul, &[part, part]);
                let (square, cube) = (self.sum(square), self.like(Op::Mul, &[turns, turns]));
                let cube = self.sum(cube);
                self.like(Op::Add, &[square, cube])
            }
            Loss::Place => {
                let r = self.push(Op::Data(Data::Reward), &[], Shape::Sample(1));
                let (front, back) = (
                    self.push(Op::Place { start: 0, step: 1 }, &[y], Shape::Sample(d + 1)),
                    self.push(Op::Place { start: d, step: 1 }, &[r], Shape::Sample(d + 1)),
                );
                let joined = self.like(Op::Add, &[front, back]);
                let square = self.like(Op::Mul, &[joined, joined]);
                self.sum(square)
            }
            Loss::Broadcast => {
                let sum = self.sum(y);
                let wide = self.push(Op::Broadcast, &[sum], Shape::Sample(d));
                let product = self.like(Op::Mul, &[wide, y]);
                // The same of every second element with itself.
                let spaced = self.push(Op::Place { start: 1, step: 2 }, &[product], Shape::Sample(2 * d));
                let turns = self.push(Op::SumElements, &[spaced], Shape::Sample(2));
                let wide = self.push(Op::Broadcast, &[turns], Shape::Sample(2 * d));
                let product = self.like(Op::Mul, &[wide, spaced]);
                self.sum(product)
            }
            Loss::Centred => {
                let total = self.push(Op::SumBatch, &[y], Shape::Vector(d));
                let mean = self.like(Op::Scale(1.0 / BATCH as f64), &[total]);
                let spread = self.push(Op::Spread, &[mean], Shape::Sample(d));
                let centred = self.like(Op::Sub, &[y, spread]);
                let square = self.like(Op::Mul, &[centred, y]);
                self.sum(square)
            }
            Loss::Next => {
                let next = self.push(Op::Data(Data::Observation { index: 0, next: true }), &[], Shape::Sample(case.inputs));
                let value = self.network(case, next);
                let difference = self.like(Op::Sub, &[y, value]);
                let square = self.like(Op::Mul, &[difference, difference]);
                self.sum(square)
            }
            Loss::BatchSquare => {
                let sum = self.sum(y);
                let total = self.push(Op::SumBatch, &[sum], Shape::Vector(1));
                let square = self.like(Op::Mul, &[total, total]);
                self.push(Op::Spread, &[square], Shape::Sample(1))
            }
        }
    }
}

fn build(case: &Case, hold: bool) -> (Building, Id) {
    let mut b = Building { graph: Graph::default(), parameters: Vec::new(), stopped: Vec::new(), hold };
    let x = b.push(Op::Data(Data::Observation { index: 0, next: false }), &[], Shape::Sample(case.inputs));
    let y = b.network(case, x);
    let mut total: Option<Id> = None;
    for &(loss, c) in &case.losses {
        let value = b.loss(case, loss, y);
        let scaled = b.like(Op::Scale(c), &[value]);
        total = Some(total.map_or(scaled, |t| b.like(Op::Add, &[t, scaled])));
    }
    let total = total.expect("a case has a loss");
    let sum = b.push(Op::SumBatch, &[total], Shape::Vector(1));
    let loss = b.like(Op::Scale(1.0 / BATCH as f64), &[sum]);
    (b, loss)
}

/// Whether some maximum, `relu` or `abs` stands at its kink.
fn at_a_kink(graph: &Graph, values: &[Vec<f64>]) -> bool {
    let near = |x: f64| x.abs() < KINK;
    graph.ids().any(|id| {
        let operands = graph.operands(id);
        match &graph.node(id).op {
            Op::Map(Map { function: Elementwise::Named(Function::Relu | Function::Abs), .. }) => {
                values[operands[0].index()].iter().any(|&x| near(x))
            }
            Op::Extremum { .. } => values[operands[0].index()].iter().zip(&values[operands[1].index()]).any(|(a, b)| near(a - b)),
            _ => false,
        }
    })
}

fn agrees(case: &Case, functions: &dyn Functions, exact: bool) -> Result<(), TestCaseError> {
    let (mut b, loss) = build(case, false);
    let wanted: Vec<Id> = b.parameters.iter().map(|p| p.1).collect();
    let found = gradients(&mut b.graph, loss, &wanted).map_err(|e| TestCaseError::fail(format!("{e:?}")))?;
    prop_assert!(b.graph.verify().is_empty(), "{:?}", b.graph.verify());

    let mut numbers = Numbers::new(case.seed);
    let outputs = case.layers.last().expect("a case has a layer").width;
    let mut draw = |count: usize| (0..count).map(|_| numbers.next()).collect::<Vec<f64>>();
    let data = [draw(BATCH * case.inputs), draw(BATCH * case.inputs), draw(BATCH * outputs), draw(BATCH)];
    let data = |which: &Data| match which {
        Data::Observation { next: false, .. } => data[0].clone(),
        Data::Observation { next: true, .. } => data[1].clone(),
        Data::Action => data[2].clone(),
        _ => data[3].clone(),
    };
    let mut states: BTreeMap<String, Vec<f64>> = b.parameters.iter().map(|(name, id)| (name.clone(), draw(b.dim(*id)))).collect();
    let values = eval(&b.graph, BATCH, functions, &data, &states);
    if exact && at_a_kink(&b.graph, &values) {
        return Ok(());
    }

    let (held, held_loss) = build(case, true);
    for (index, id) in b.stopped.iter().enumerate() {
        states.insert(format!("held {index}"), values[id.index()].clone());
    }
    let at = |states: &BTreeMap<String, Vec<f64>>| eval(&held.graph, BATCH, functions, &data, states)[held_loss.index()][0];
    let size = 1.0 + at(&states).abs();
    for (name, id) in &b.parameters {
        for element in 0..states[name].len() {
            let h = 1e-5;
            let mut moved = states.clone();
            let mut shifted = |by: f64| {
                moved.get_mut(name).expect("a parameter")[element] = states[name][element] + by;
                at(&moved)
            };
            let mut central = |h: f64| (shifted(h) - shifted(-h)) / (2.0 * h);
            // Richardson's: powers of powers bend so much that h^2 counts.
            let quotient = (4.0 * central(h / 2.0) - central(h)) / 3.0;
            let gradient = found.get(id).map_or(0.0, |g| values[g.index()][element]);
            prop_assert!(
                (quotient - gradient).abs() < 1e-5 * gradient.abs() + 1e-7 * size,
                "{name}[{element}]: gradient {gradient}, difference quotient {quotient}\n{}",
                b.graph.print()
            );
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_exact_functions(case in case()) {
        agrees(&case, &Exact, true)?;
    }

    #[test]
    fn of_polynomials(case in case()) {
        agrees(&case, &Polynomials::default(), false)?;
    }
}
