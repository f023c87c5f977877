//! Plans that do each operation once: what the measurement runs.

use hecc_plan::cost::Kind;
use hecc_plan::{
    Bootstrap, Ckks, ClearProgram, Geometry, Input, InputId, KeyManifest, KeyShape, Matrix, MatrixId, Op, Output, OutputId, Plain, PlainId,
    PlainPattern, Plan, RotationKey, Round, Span, Step, Tensor, Tensors, Wire, WireId, security,
};

/// What a step of a micro plan measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Probe {
    /// An operation of the table.
    Of(Kind),
    /// A sum whose result two transforms read.
    AddNormalised,
    /// A sum of eight products.
    Dot8,
    /// A matrix, by its index in [`MATRICES`].
    Linear(usize),
    /// What only gives others their operands.
    Nothing,
}

/// Sizes and baby steps of the matrices: together they tell a diagonal, a baby step and a giant step apart.
pub const MATRICES: [(usize, usize); 4] = [(1, 1), (4, 4), (4, 1), (16, 4)];
const WIDTH: usize = 16;
/// Widest digits that every backend holds for sums of products.
pub const BASE2K: u32 = 45;
/// Most digits of a key that is measured.
const DIGITS: u32 = 6;

/// Where a micro plan measures.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Limbs of the operands.
    pub limbs: u32,
    /// The keys.
    pub key: KeyShape,
}

impl Place {
    /// With keys for ciphertexts of `widest` limbs, or `None` where no secure key is so wide.
    pub fn new(log_n: u32, limbs: u32, widest: u32) -> Option<Self> {
        let bound = security::max_log_modulus(log_n, 128)?;
        Some(Self { log_n, limbs, key: security::key_shape(log_n, BASE2K, widest * BASE2K, bound)? })
    }

    /// Limbs of a key's modulus.
    pub fn key_limbs(&self) -> u32 {
        self.key.log_modulus().div_ceil(BASE2K)
    }

    /// Most limbs that secure keys of reasonable size switch in this ring: the last bits of a modulus cost a digit each.
    pub fn widest(log_n: u32) -> u32 {
        let fits = |limbs: &u32| Place::new(log_n, *limbs, *limbs).is_some_and(|place| place.key.dnum <= DIGITS);
        (1..=64).take_while(fits).last().unwrap_or(1)
    }
}

/// A plan with `repeats` of each probe, and what each step measures. Matrices only where asked for.
pub fn plan(place: &Place, repeats: usize, linear: bool) -> (Plan, Vec<Probe>) {
    let slots = 1usize << (place.log_n - 1);
    let k = place.limbs * BASE2K;
    let scale = if place.limbs == 1 { 20 } else { 30 };
    let full = Wire { scale, k };
    let spent = |bits: u32| Wire { scale, k: (k - bits).max(scale) };
    let lanes = slots / WIDTH;
    let mut steps: Vec<Step> = Vec::new();
    let mut probes = Vec::new();
    let mut push = |op: Op, wire: Wire, probe: Probe| {
        steps.push(Step { op, wire, span: Span::default() });
        probes.push(probe);
        WireId(steps.len() as u32 - 1)
    };
    let x: Vec<WireId> = (0..4).map(|i| push(Op::Input(InputId(i)), full, Probe::Of(Kind::Input))).collect();
    let pairs = |count: usize| Op::Dot((0..count).map(|i| (x[i % 4], x[(i / 4 + i + 1) % 4])).collect());
    for _ in 0..repeats {
        push(Op::Add(x[0], x[1]), full, Probe::Of(Kind::Add));
        push(Op::AddConst(x[0], 0.5), full, Probe::Of(Kind::AddConst));
        push(Op::AddPlain(x[0], PlainId(0)), full, Probe::Of(Kind::AddPlain));
        push(Op::MulConst { a: x[0], c: 0.3, bits: scale.min(24) }, spent(scale.min(24)), Probe::Of(Kind::MulConst));
        push(Op::MulPlain(x[0], PlainId(0)), spent(20), Probe::Of(Kind::MulPlain));
        push(Op::Halve { a: x[0], bits: 1 }, Wire { scale: scale + 1, k }, Probe::Of(Kind::Halve));
        let narrow = if place.limbs > 1 { k - BASE2K } else { k - 1 };
        push(Op::Narrow(x[0]), Wire { scale, k: narrow }, Probe::Of(Kind::Narrow));
        push(Op::Dot(vec![(x[0], x[0])]), spent(scale), Probe::Of(Kind::Square));
        push(pairs(1), spent(scale), Probe::Of(Kind::Product));
        push(pairs(2), spent(scale), Probe::Of(Kind::Dot2));
        push(pairs(8), spent(scale), Probe::Dot8);
        push(Op::Rotate { a: x[0], by: lanes as i64 }, full, Probe::Of(Kind::Rotate));
        let sum = push(Op::Add(x[2], x[3]), full, Probe::AddNormalised);
        for c in [0.3, 0.4] {
            push(Op::MulConst { a: sum, c, bits: scale.min(24) }, spent(scale.min(24)), Probe::Nothing);
        }
    }
    for _ in 0..repeats.min(3) {
        for index in (0..MATRICES.len()).filter(|_| linear) {
            push(Op::Linear(x[index % 4], MatrixId(index as u32)), spent(20), Probe::Linear(index));
        }
    }
    let name = |index: usize| format!("m{index}");
    let matrix = |index: usize| {
        let (size, baby) = MATRICES[index];
        Matrix { name: name(index), ties: None, rows: size, cols: size, baby, factor: 1.0, scale: 20 }
    };
    let matrices: Vec<Matrix> = (0..MATRICES.len()).filter(|_| linear).map(matrix).collect();
    let mut by: Vec<usize> = matrices.iter().flat_map(|m| [m.rotations().0, m.rotations().1].concat()).chain([1]).collect();
    by.sort_unstable();
    by.dedup();
    let last = steps.len() as u32;
    let plan = Plan {
        name: "calibration".to_owned(),
        source: String::new(),
        ckks: Ckks { log_n: place.log_n, base2k: BASE2K, scale, max_k: k, log_modulus: place.key.log_modulus().max(k), security_bits: 128 },
        geometry: Geometry { width: WIDTH, lanes, batch: lanes },
        client: ClearProgram::default(),
        inputs: (0..4).map(|_| Input { label: "x".to_owned(), contents: Vec::new(), wire: full }).collect(),
        plains: vec![Plain { pattern: PlainPattern::Lane { lane: 0, value: 0.7 }, scale: 20 }],
        steps,
        carried: Vec::new(),
        bootstrap: None,
        outputs: vec![Output { label: "x".to_owned(), wire: x[0], contents: Vec::new() }],
        rounds: vec![Round {
            inputs: (0..4).map(InputId).collect(),
            steps: (0, last),
            outputs: vec![OutputId(0)],
            update: 0,
            saves: Vec::new(),
        }],
        states: Vec::new(),
        settled: Vec::new(),
        periods: Vec::new(),
        public: matrices.iter().map(|m| (m.name.clone(), vec![m.rows, m.cols])).collect(),
        matrices,
        keys: KeyManifest {
            relinearisation: vec![place.key],
            rotations: by.into_iter().map(|r| RotationKey { by: (r * lanes) as i64, shape: place.key }).collect(),
        },
        training: None,
        notes: Vec::new(),
        decisions: Vec::new(),
    };
    (plan, probes)
}

/// A plan that bootstraps one ciphertext, again and again.
pub fn bootstrap(offer: &Bootstrap) -> Plan {
    let slots = 1usize << (offer.log_n - 1);
    let wire = Wire { scale: offer.scale, k: offer.output_k };
    let step = |op| Step { op, wire, span: Span::default() };
    let steps: Vec<Step> = std::iter::once(Op::Input(InputId(0))).chain((0..3).map(|_| Op::Bootstrap(WireId(0)))).map(step).collect();
    let last = WireId(steps.len() as u32 - 1);
    Plan {
        name: "calibration".to_owned(),
        source: String::new(),
        ckks: Ckks {
            log_n: offer.log_n,
            base2k: offer.base2k,
            scale: offer.scale,
            max_k: offer.output_k,
            log_modulus: offer.log_modulus,
            security_bits: if offer.is_insecure() { 0 } else { 128 },
        },
        geometry: Geometry { width: WIDTH, lanes: slots / WIDTH, batch: slots / WIDTH },
        client: ClearProgram::default(),
        inputs: vec![Input { label: "x".to_owned(), contents: Vec::new(), wire }],
        plains: Vec::new(),
        rounds: vec![Round {
            inputs: vec![InputId(0)],
            steps: (0, steps.len() as u32),
            outputs: vec![OutputId(0)],
            update: 0,
            saves: Vec::new(),
        }],
        steps,
        carried: Vec::new(),
        bootstrap: Some(offer.clone()),
        outputs: vec![Output { label: "x".to_owned(), wire: last, contents: Vec::new() }],
        states: Vec::new(),
        settled: Vec::new(),
        periods: Vec::new(),
        public: Vec::new(),
        matrices: Vec::new(),
        keys: KeyManifest::default(),
        training: None,
        notes: Vec::new(),
        decisions: Vec::new(),
    }
}

/// The same plan with its inputs and one step with that probe.
pub fn only(plan: &Plan, probes: &[Probe], probe: Probe) -> Plan {
    let mut plan = plan.clone();
    let mut index = 0;
    let mut taken = false;
    plan.steps.retain(|_| {
        let here = probes[index];
        index += 1;
        here == Probe::Of(Kind::Input) || (here == probe && !std::mem::replace(&mut taken, true))
    });
    plan
}

/// The public arrays of a micro plan: dense matrices.
pub fn public(plan: &Plan) -> Tensors {
    let array = |(name, shape): &(String, Vec<usize>)| (name.clone(), Tensor::new(shape.clone(), vec![0.25; shape.iter().product()]));
    plan.public.iter().map(array).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn micro_plans_check_and_have_each_probe() {
        for (log_n, limbs) in [(12, 1), (13, 2), (14, 5), (16, 20)] {
            let place = Place::new(log_n, limbs, Place::widest(log_n)).expect("a key");
            let (plan, probes) = plan(&place, 2, true);
            hecc_plan::check::check(&plan).unwrap_or_else(|e| panic!("2^{log_n}, {limbs} limbs: {e:?}"));
            assert_eq!(plan.steps.len(), probes.len());
            assert!((0..MATRICES.len()).all(|i| probes.contains(&Probe::Linear(i))));
            assert_eq!(only(&plan, &probes, Probe::Dot8).steps.len(), 5);
        }
    }
}
