//! Plans take as few bootstraps as they can: what is counted here by trying everything is what the compiler made, and what it says
//! is the minimum of its model. Nothing here is the compiler's own: circuits are run on all integers that they can be given, and
//! a set of bootstraps does if what is needed can be read off what it gives.

use std::collections::BTreeMap;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::tfhe::{Op, Plan, oracle};
use hecc_plan::{Tensor, Tensors};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// Every way, the fastest first.
fn ways(source: &str, weights: Tensors) -> Vec<Plan> {
    let program = hecc_compiler::front::check(source).unwrap_or_else(|errors| panic!("{errors:?}"));
    let given = Given { weights, sample: Tensors::new() };
    let plans = tfhe::ways(&program, source, &given).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    for plan in &plans {
        hecc_plan::tfhe::check::check(plan).expect("a plan checks");
    }
    plans
}

fn compiled(source: &str, weights: Tensors) -> Plan {
    ways(source, weights).swap_remove(0)
}

fn fewest(plans: &[Plan]) -> u64 {
    plans.iter().map(Plan::bootstraps).min().expect("a way")
}

fn program(observations: usize, net: &str, outputs: usize, serve: &str, batch: usize, secure: &str) -> String {
    let ranges = vec!["[-1, 1]"; observations].join(", ");
    format!(
        "env \"Other-v0\" {{ observe s: [{observations}] in {ranges} act a: one of {} reward r in [-1, 1] }}\nnet q(s) -> [{outputs}] {{ {net} }}\nserve {serve} {{ batch = {batch} }}\nsecure tfhe {{ {secure} }}",
        outputs.max(2)
    )
}

struct Random(ChaCha20Rng);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// Small weights, so that neurons are often equal, opposite, of one input or of none.
    fn network(&mut self, widths: &[usize]) -> Tensors {
        let mut weights = Tensors::new();
        for (layer, pair) in widths.windows(2).enumerate() {
            let mut draw = |count: usize| (0..count).map(|_| (self.below(5) as f64 - 2.0) / 2.0).collect::<Vec<f64>>();
            weights.insert(format!("q.{layer}.weight"), Tensor::new(vec![pair[1], pair[0]], draw(pair[0] * pair[1])));
            weights.insert(format!("q.{layer}.bias"), Tensor::new(vec![pair[1]], draw(pair[1])));
        }
        weights
    }
}

/// One integer of a plan that a bootstrap makes.
struct Made {
    /// Its value for each input.
    values: Vec<i64>,
    /// Bootstraps.
    cost: u64,
    /// What was read.
    read: Vec<i64>,
}

/// Every integer that bootstraps of a plan make, those of its outputs, and the client's, for all inputs.
fn everything(plan: &Plan) -> (Vec<Made>, Vec<Vec<i64>>, Vec<Vec<i64>>) {
    let inputs: Vec<(u32, usize, i64, i64)> = plan
        .steps
        .iter()
        .filter_map(|step| match step.op {
            Op::Input(id) => Some((0..step.wire.len as usize).map(move |e| (id.0, e, step.wire.low, step.wire.high))),
            _ => None,
        })
        .flatten()
        .collect();
    let points: usize = inputs.iter().map(|i| (i.3 - i.2 + 1) as usize).product();
    // Every step is made an output, and the oracle run on every point.
    let mut all = plan.clone();
    let template = plan.outputs[0].clone();
    all.outputs = (0..plan.steps.len())
        .map(|index| hecc_plan::tfhe::Output { wire: hecc_plan::tfhe::WireId(index as u32), ..template.clone() })
        .collect();
    let mut wires: Vec<Vec<Vec<i64>>> = plan.steps.iter().map(|step| vec![Vec::new(); step.wire.len as usize]).collect();
    for point in 0..points {
        let (mut rest, mut given) = (point, BTreeMap::<u32, Vec<i64>>::new());
        for (id, _, low, high) in &inputs {
            let size = (high - low + 1) as usize;
            given.entry(*id).or_default().push(low + (rest % size) as i64);
            rest /= size;
        }
        for (wire, values) in wires.iter_mut().zip(oracle::run(&all, &given)) {
            wire.iter_mut().zip(values).for_each(|(column, v)| column.push(v));
        }
    }
    let mut made = Vec::new();
    for (step, columns) in plan.steps.iter().zip(&wires) {
        if let Some((_, cost)) = step.op.lookups() {
            for (values, read) in columns.iter().zip(&wires[step.op.operands()[0].index()]) {
                made.push(Made { values: values.clone(), cost: u64::from(cost), read: read.clone() });
            }
        }
    }
    let outputs = plan.outputs.iter().flat_map(|output| wires[output.wire.index()].clone()).collect();
    let is_input = |step: &&hecc_plan::tfhe::Step| matches!(step.op, Op::Input(_));
    let client = plan.steps.iter().zip(&wires).filter(|(step, _)| is_input(step)).flat_map(|(_, w)| w.clone()).collect();
    (made, outputs, client)
}

/// Vectors of doubles that are orthogonal, to tell what is a combination of what.
#[derive(Clone, Default)]
struct Span(Vec<Vec<f64>>);

impl Span {
    fn rest(&self, v: &[i64]) -> Option<Vec<f64>> {
        let mut rest: Vec<f64> = v.iter().map(|&x| x as f64).collect();
        let size = rest.iter().map(|x| x * x).sum::<f64>();
        for _ in 0..2 {
            for b in &self.0 {
                let along = rest.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
                rest.iter_mut().zip(b).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = rest.iter().map(|x| x * x).sum::<f64>();
        (left > 1e-9 * size.max(1e-9)).then(|| rest.iter().map(|x| x / left.sqrt()).collect())
    }

    fn has(&self, v: &[i64]) -> bool {
        self.rest(v).is_none()
    }

    fn add(&mut self, v: &[i64]) {
        self.0.extend(self.rest(v));
    }
}

fn is_function_of(values: &[i64], of: &[i64]) -> bool {
    let mut seen = BTreeMap::new();
    values.iter().zip(of).all(|(v, u)| *seen.entry(u).or_insert(v) == v)
}

/// What can be made, for how much, and what of.
type Candidate<'a> = (&'a Vec<i64>, u64, Vec<&'a Vec<i64>>);

/// The least cost of a set of bootstraps that does: each reads what one of the plan's bootstraps reads, and gives what one gives or
/// what leaves; all that leaves is a combination of what they give.
fn by_trying(plan: &Plan) -> u64 {
    let (made, outputs, client) = everything(plan);
    // What can be made, what of, and for how much: dropping bits is not for tables to do.
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let tabled: Vec<&Vec<i64>> = made.iter().filter(|m| m.cost == 1).map(|m| &m.read).collect();
    for Made { values, cost, read } in &made {
        let mut from: Vec<&Vec<i64>> = tabled.iter().copied().filter(|of| is_function_of(values, of)).collect();
        from.push(read);
        if !candidates.iter().any(|c| c.0 == values && c.1 <= *cost) {
            candidates.push((values, *cost, from));
        }
    }
    for output in &outputs {
        let from: Vec<&Vec<i64>> = tabled.iter().copied().filter(|of| is_function_of(output, of)).collect();
        if !from.is_empty() && !candidates.iter().any(|c| c.0 == output) {
            candidates.push((output, 1, from));
        }
    }
    assert!(candidates.len() <= 14, "{} candidates are too many to try", candidates.len());
    let mut start = Span::default();
    start.add(&vec![1; outputs[0].len()]);
    client.iter().for_each(|c| start.add(c));
    let mut least = u64::MAX;
    for set in 0u32..1 << candidates.len() {
        let mut left: Vec<_> = candidates.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, c)| c).collect();
        if left.iter().map(|c| c.1).sum::<u64>() >= least {
            continue;
        }
        let cost = left.iter().map(|c| c.1).sum();
        let mut span = start.clone();
        while let Some(place) = left.iter().position(|c| c.2.iter().any(|of| span.has(of))) {
            span.add(left.remove(place).0);
        }
        if left.is_empty() && outputs.iter().all(|output| span.has(output)) {
            least = cost;
        }
    }
    least
}

#[test]
fn small_policies_take_the_fewest() {
    let mut random = Random(ChaCha20Rng::seed_from_u64(5));
    let (mut tried, mut total, mut fewer) = (0, 0, 0);
    for case in 0..40 {
        let hidden = 1 + random.below(3) as usize;
        let f = ["relu", "tanh", "relu dense 1 tanh"][case % 3];
        let actions = 1 + case % 2;
        let net = format!("dense {hidden} {f} dense {actions}");
        let widths = if case % 3 == 2 { vec![4, hidden, 1, actions] } else { vec![4, hidden, actions] };
        let serve = if actions == 2 { "argmax(q(s))" } else { "q(s)" };
        // Neurons read the first two observations or the last two, so that what is independent in the model is so here.
        let mut weights = random.network(&widths);
        let first = weights.get_mut("q.0.weight").expect("a layer");
        let both: Vec<f64> = first.data[..4].to_vec();
        for (neuron, row) in first.data.chunks_mut(4).enumerate() {
            let (side, factor) = (2 * (neuron % 2), [1.0, 1.0, -1.0][neuron]);
            row.iter_mut().enumerate().for_each(|(i, w)| *w = if i / 2 == side / 2 { factor * both[i] } else { 0.0 });
        }
        let source = program(4, &net, actions, serve, 1, "secret = [s] public = [q] quantize = w3 a3");
        let plan = compiled(&source, weights.clone());
        let least = by_trying(&plan);
        assert!(least <= plan.bootstraps(), "{net} {serve} {weights:?}");
        assert_eq!(plan.fewest_bootstraps, Some(plan.bootstraps()), "{net} {serve} {weights:?}");
        // Where one neuron never decides, as it happens, the model does not know.
        if least < plan.bootstraps() {
            println!("{net} {serve}: {} bootstraps, which is the minimum of the model; {least} do", plan.bootstraps());
            fewer += 1;
        }
        (tried, total) = (tried + 1, total + least);
    }
    println!("{tried} policies, {total} bootstraps at least; {fewer} take more");
    assert!(fewer <= 6, "{fewer}");
}

/// The fewest tables of the products of every a with every b, by trying which of them have tables of their own.
fn products_by_trying(a: usize, b: usize) -> u64 {
    let cost = |set: u32| {
        let has = |n: usize| u64::from(set >> n & 1);
        (0..a).flat_map(|i| (0..b).map(move |j| (i, j))).map(|(i, j)| 2 - has(i) * has(a + j)).sum::<u64>() + u64::from(set.count_ones())
    };
    (0u32..1 << (a + b)).map(cost).min().unwrap_or(0)
}

#[test]
fn products_share_tables_of_their_factors() {
    for (batch, inputs, outputs) in [(1, 3, 2), (2, 2, 2), (2, 2, 3), (3, 2, 3), (4, 1, 5), (3, 3, 4)] {
        let source = program(inputs, &format!("dense {outputs}"), outputs, "q(s)", batch, "quantize = w4 a4");
        let plans = ways(&source, Tensors::new());
        let least = inputs as u64 * products_by_trying(batch, outputs);
        println!(
            "{batch} x {inputs} by {inputs} x {outputs}: fewest {least}; {:?}",
            plans[0].decisions.first().map(|d| (&d.choice, &d.runner_up))
        );
        assert_eq!(fewest(&plans), least, "{batch} x {inputs} by {inputs} x {outputs}");
        for plan in plans {
            assert_eq!(plan.fewest_bootstraps, Some(plan.bootstraps()), "{batch} x {inputs} by {inputs} x {outputs}");
        }
    }
}

/// Bits that a comparison of integers in a range drops, where it reads so many.
fn dropped((low, high): (i64, i64), bits: u32) -> u64 {
    let width = (1..40u32).find(|w| -(1i64 << (w - 1)) <= low && high < 1i64 << (w - 1)).unwrap_or(40);
    u64::from(width.saturating_sub(bits + 1))
}

/// A sum of the client's integers, from -3 to 3 each, and of what winners were carried on by.
#[derive(Clone)]
struct Player {
    coefficients: Vec<i64>,
    constant: i64,
    carried: (i64, i64),
}

impl Player {
    fn minus(&self, other: &Player) -> Player {
        Player {
            coefficients: self.coefficients.iter().zip(&other.coefficients).map(|(a, b)| a - b).collect(),
            constant: self.constant - other.constant,
            carried: (self.carried.0 - other.carried.1, self.carried.1 - other.carried.0),
        }
    }

    fn range(&self) -> (i64, i64) {
        let reach = 3 * self.coefficients.iter().map(|c| c.abs()).sum::<i64>();
        (self.constant + self.carried.0 - reach, self.constant + self.carried.1 + reach)
    }

    /// Bootstraps that find the sign: none of what is known, one of what is a table of a single integer.
    fn sign(&self, bits: u32) -> u64 {
        let common = self.coefficients.iter().fold(0, |a, c| gcd(a, c.abs())).max(1);
        let used = self.coefficients.iter().filter(|c| **c != 0).count();
        if self.range().0 >= 0 || self.range().1 < 0 {
            return 0;
        }
        match used {
            0 if self.carried == (0, 0) => 0,
            _ if self.carried != (0, 0) => dropped(self.range(), bits) + 1,
            1 => u64::from(self.range().0 < 0 && self.range().1 >= 0),
            _ => {
                let reach = 3 * self.coefficients.iter().map(|c| c.abs() / common).sum::<i64>();
                let constant = self.constant.div_euclid(common);
                dropped((constant - reach, constant + reach), bits) + 1
            }
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Every tournament of neighbours: the winner and the bootstraps, with what carries winners on and finds who won.
fn tournaments(players: &[Player], bits: u32, last: bool) -> Vec<(Player, u64)> {
    if let [player] = players {
        return vec![(player.clone(), 0)];
    }
    let mut found: Vec<(Player, u64)> = Vec::new();
    for split in 1..players.len() {
        for (left, a) in tournaments(&players[..split], bits, false) {
            for (right, b) in tournaments(&players[split..], bits, false) {
                let difference = left.minus(&right);
                let drop = dropped(difference.range(), bits);
                let ahead = ((difference.range().1 >> drop) << drop) + (1 << drop) - 1;
                let cost = if last { difference.sign(bits) } else { drop + 3 + drop.div_ceil(u64::from(bits)) };
                let carried = (right.carried.0, right.carried.1 + ahead.max(0));
                found.push((Player { carried, ..right.clone() }, a + b + cost));
            }
        }
    }
    found
}

fn all_pairs(players: &[Player], bits: u32) -> u64 {
    let pairs = (0..players.len()).flat_map(|i| (i + 1..players.len()).map(move |j| (i, j)));
    pairs.map(|(i, j)| players[i].minus(&players[j]).sign(bits)).sum::<u64>() + players.len() as u64 - 1
}

#[test]
fn an_arg_max_takes_the_fewest_and_the_first_of_equals_wins() {
    let bits = 3;
    let mut random = Random(ChaCha20Rng::seed_from_u64(9));
    for actions in 3..=8 {
        let weights = random.network(&[2, actions]);
        let secure = format!("secret = [s] public = [q] quantize = w3 a{bits}");
        let source = |serve| program(2, &format!("dense {actions}"), actions, serve, 1, &secure);
        let plans = ways(&source("argmax(q(s))"), weights.clone());
        // The same integers, as they are compared.
        let served = compiled(&source("q(s)"), weights);
        let (_, values, _) = everything(&served);
        let chosen: Vec<Vec<Vec<i64>>> = plans.iter().map(|plan| everything(plan).1).collect();
        let mut ties = 0;
        for point in 0..values[0].len() {
            let largest = values.iter().map(|v| v[point]).max().expect("actions");
            let first = values.iter().position(|v| v[point] == largest).expect("one is largest");
            ties += usize::from(values.iter().filter(|v| v[point] == largest).count() > 1);
            for (action, bit) in chosen.iter().flat_map(|chosen| chosen.iter().enumerate()) {
                assert_eq!(bit[point], i64::from(action == first), "{actions} actions, action {action}");
            }
        }
        let Op::Affine { rows, .. } = &served.steps[served.outputs[0].wire.index()].op else { panic!("sums are served") };
        let player = |row: &hecc_plan::tfhe::Row| {
            let mut coefficients = vec![0; 2];
            row.terms.iter().for_each(|&(_, e, c)| coefficients[e as usize] += c);
            Player { coefficients, constant: row.constant, carried: (0, 0) }
        };
        let players: Vec<Player> = rows.iter().map(player).collect();
        let tree = tournaments(&players, bits, true).into_iter().map(|(_, cost)| cost).min().expect("a tournament");
        let pairs = all_pairs(&players, bits);
        let made: Vec<_> = plans.iter().map(|plan| (plan.bootstraps(), plan.fewest_bootstraps)).collect();
        println!("{actions} actions: {made:?}; tournaments {tree}, all pairs {pairs}; {ties} ties of {}", values[0].len());
        println!("  {:?}", plans[0].decisions.first().map(|d| (&d.choice, &d.runner_up)));
        assert!(ties > 0, "ties are tried");
        // More actions share comparisons that the model finds and the compiler does not.
        assert!(actions > 5 || plans[0].fewest_bootstraps == Some(plans[0].bootstraps()), "{actions} actions");
        // Of tournaments the compiler knows the balanced one.
        assert!(plans.iter().any(|plan| plan.bootstraps() <= pairs), "{actions} actions");
        for plan in plans {
            assert!(plan.fewest_bootstraps <= Some(plan.bootstraps()));
        }
    }
}

#[test]
fn an_update_of_dqn_is_compared_with_the_model() {
    let plan = compiled(include_str!("../../examples/integers/cartpole_dqn.rl"), Tensors::new());
    println!("{} bootstraps, fewest {:?}", plan.bootstraps(), plan.fewest_bootstraps);
    for decision in plan.decisions.iter().filter(|d| d.subject.starts_with("how")) {
        println!("{}; {:?}", decision.choice, decision.runner_up);
    }
    // The model clips a wide sum by one table where the lowering takes one for each level of its bits.
    let fewest = plan.fewest_bootstraps.expect("it is counted");
    assert!(fewest <= plan.bootstraps() && plan.bootstraps() as f64 <= 1.05 * fewest as f64, "{} of {fewest}", plan.bootstraps());
}
