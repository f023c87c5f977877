//! Plans for the tests of the engine.
#![allow(clippy::unwrap_used)]

use hecc_plan::{
    CarriedId, Ckks, ClearId, ClearOp, ClearProgram, Content, Geometry, Input, InputId, KeyManifest, KeyShape, Lanes, Layout, Matrix,
    MatrixId, Op, Output, OutputId, Plain, PlainId, PlainPattern, Plan, RotationKey, Round, Runs, Span, State, StateInit, Step, Target,
    Tensor, Tensors, Wire, WireId, security,
};

/// Writes plans, one round at a time.
pub struct Builder {
    pub plan: Plan,
    /// What the round keeps.
    pub saves: Vec<(CarriedId, WireId)>,
    /// Which update the round belongs to.
    pub update: u32,
    begun: (usize, usize, usize),
}

impl Builder {
    pub fn new(log_n: u32, base2k: u32, scale: u32, max_k: u32) -> Self {
        let slots = 1 << (log_n - 1);
        let plan = Plan {
            name: "test".to_owned(),
            source: String::new(),
            ckks: Ckks { log_n, base2k, scale, max_k, log_modulus: max_k, security_bits: 0 },
            geometry: Geometry { width: 16, lanes: slots / 16, batch: slots / 16 },
            client: ClearProgram::default(),
            inputs: Vec::new(),
            plains: Vec::new(),
            matrices: Vec::new(),
            steps: Vec::new(),
            outputs: Vec::new(),
            rounds: Vec::new(),
            states: Vec::new(),
            public: Vec::new(),
            carried: Vec::new(),
            bootstrap: None,
            keys: KeyManifest::default(),
            periods: Vec::new(),
            settled: Vec::new(),
            training: None,
            notes: Vec::new(),
            decisions: Vec::new(),
        };
        Self { plan, saves: Vec::new(), update: 0, begun: (0, 0, 0) }
    }

    pub fn step(&mut self, op: Op, scale: u32, k: u32) -> WireId {
        self.plan.steps.push(Step { op, wire: Wire { scale, k }, span: Span::default() });
        WireId(self.plan.steps.len() as u32 - 1)
    }

    /// An array of the batch, 16 elements per sample.
    pub fn input(&mut self, name: &str, k: u32) -> WireId {
        let node = self.plan.client.push(ClearOp::Batch { name: name.to_owned(), dim: 16 });
        self.input_of(node, Layout::Samples { group: 0, period: 16 }, k)
    }

    pub fn input_of(&mut self, tensor: ClearId, layout: Layout, k: u32) -> WireId {
        let scale = self.plan.ckks.scale;
        let contents = vec![Content { tensor, layout, factor: 1.0 }];
        self.plan.inputs.push(Input { label: format!("input {}", self.plan.inputs.len()), contents, wire: Wire { scale, k } });
        self.step(Op::Input(InputId(self.plan.inputs.len() as u32 - 1)), scale, k)
    }

    /// All slots of a wire, as a result.
    pub fn output(&mut self, name: &str, wire: WireId) {
        self.output_to(Target::Result { name: name.to_owned(), dim: 16 }, Layout::Samples { group: 0, period: 16 }, wire);
    }

    pub fn output_to(&mut self, tensor: Target, layout: Layout, wire: WireId) {
        let contents = vec![Content { tensor, layout, factor: 1.0 }];
        self.plan.outputs.push(Output { label: format!("output {}", self.plan.outputs.len()), wire, contents });
    }

    pub fn plain(&mut self, pattern: PlainPattern, scale: u32) -> PlainId {
        self.plan.plains.push(Plain { pattern, scale });
        PlainId(self.plan.plains.len() as u32 - 1)
    }

    pub fn end_round(&mut self) {
        let now = (self.plan.inputs.len(), self.plan.steps.len(), self.plan.outputs.len());
        self.plan.rounds.push(Round {
            update: self.update,
            saves: std::mem::take(&mut self.saves),
            inputs: (self.begun.0..now.0).map(|i| InputId(i as u32)).collect(),
            steps: (self.begun.1 as u32, now.1 as u32),
            outputs: (self.begun.2..now.2).map(|i| OutputId(i as u32)).collect(),
        });
        self.begun = now;
    }

    fn shape(&self, k: u32) -> KeyShape {
        let bound = match self.plan.ckks.security_bits {
            0 => 2000,
            bits => security::max_log_modulus(self.plan.ckks.log_n, bits).unwrap(),
        };
        security::key_shape(self.plan.ckks.log_n, self.plan.ckks.base2k, k, bound).unwrap()
    }

    /// Ends the last round and states the keys that the steps need.
    pub fn finish(mut self) -> Plan {
        self.end_round();
        let mut rotations: std::collections::BTreeMap<i64, u32> = std::collections::BTreeMap::new();
        let mut products: Vec<u32> = Vec::new();
        for step in &self.plan.steps {
            let k = step.op.operands().iter().map(|id| self.plan.steps[id.index()].wire.k).max().unwrap_or(0);
            match &step.op {
                Op::Dot(_) => products.push(k),
                Op::Rotate { by, .. } => {
                    let widest = rotations.entry(*by).or_default();
                    *widest = k.max(*widest);
                }
                Op::Linear(_, m) => {
                    let (babies, giants) = self.plan.matrices[m.0 as usize].rotations();
                    for by in babies.into_iter().chain(giants) {
                        let widest = rotations.entry((by * self.plan.geometry.lanes) as i64).or_default();
                        *widest = k.max(*widest);
                    }
                }
                _ => {}
            }
        }
        products.sort_unstable();
        products.dedup();
        self.plan.keys.relinearisation = products.iter().map(|&k| self.shape(k)).collect();
        self.plan.keys.rotations = rotations.iter().map(|(&by, &k)| RotationKey { by, shape: self.shape(k) }).collect();
        let shapes = self.plan.keys.relinearisation.iter().chain(self.plan.keys.rotations.iter().map(|r| &r.shape));
        let bootstrap = self.plan.bootstrap.as_ref().map_or(0, |b| b.log_modulus);
        self.plan.ckks.log_modulus = shapes.map(KeyShape::log_modulus).max().unwrap_or(0).max(self.plan.ckks.max_k).max(bootstrap);
        if self.plan.ckks.security_bits == 0 {
            hecc_plan::check::check_insecure(&self.plan).unwrap();
        } else {
            hecc_plan::check::check(&self.plan).unwrap();
        }
        self.plan
    }
}

/// Numbers in [-1, 1) for every array of the batch.
pub fn batch(plan: &Plan, seed: u64) -> Tensors {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    let mut tensors = Tensors::new();
    for node in &plan.client.nodes {
        if let ClearOp::Batch { name, dim } = &node.op {
            let rows = plan.geometry.batch;
            tensors.entry(name.clone()).or_insert_with(|| Tensor::new(vec![rows, *dim], (0..rows * dim).map(|_| next()).collect()));
        }
    }
    tensors
}

/// One round with every operation, in several forms.
pub fn every_operation(log_n: u32, base2k: u32, d: u32) -> (Plan, Tensors) {
    let mut b = Builder::new(log_n, base2k, d, 5 * 52);
    let k = 5 * 52;
    let lanes = b.plan.geometry.lanes;
    let slots = b.plan.geometry.slots() as i64;
    let (x, y) = (b.input("x", k), b.input("y", k));
    let z = b.input("x", 3 * d + 7);
    b.output("input", z);
    let add = b.step(Op::Add(x, y), d, k);
    b.output("add", add);
    let sub = b.step(Op::Sub(add, x), d, k - 9);
    b.output("sub narrower", sub);
    let mixed = b.step(Op::Sub(z, add), d, 3 * d + 7);
    b.output("sub widths", mixed);
    let shifted = b.step(Op::AddConst(sub, -2.625), d, k - 9);
    b.output("add_const", shifted);
    let scaled = b.step(Op::MulConst { a: shifted, c: -1.25, bits: 20 }, d, k - 29);
    b.output("mul_const", scaled);
    let tiny = b.step(Op::MulConst { a: x, c: 1.0 / 3.0, bits: 30 }, d, k - 40);
    b.output("mul_const third", tiny);
    let values = (0..8).map(|i| f64::from(i) - 3.5).collect();
    let neurons = b.plain(PlainPattern::Neurons { values }, 30);
    let lane = b.plain(PlainPattern::Lane { lane: 5, value: 3.0 }, 30);
    let name = "offset".to_owned();
    let layout = Layout::Vector { period: 16, lanes: Lanes::All, runs: Runs::DENSE };
    let offset = b.plain(PlainPattern::Public { name, ties: None, layout, factor: 0.5 }, 25);
    b.plan.public.push(("offset".to_owned(), vec![13]));
    let biased = b.step(Op::AddPlain(scaled, neurons), d, k - 29);
    b.output("add_plain", biased);
    let biased_public = b.step(Op::AddPlain(add, offset), d, k - 60);
    b.output("add_plain public", biased_public);
    let masked = b.step(Op::MulPlain(biased, lane), d, k - 59);
    b.output("mul_plain lane", masked);
    let weighted = b.step(Op::MulPlain(add, neurons), d, k - 30);
    b.output("mul_plain", weighted);
    let product = b.step(Op::Dot(vec![(x, y)]), d, k - d);
    b.output("dot", product);
    let square = b.step(Op::Dot(vec![(add, add)]), d, k - d - 3);
    b.output("square", square);
    let narrow = b.step(Op::Dot(vec![(x, y)]), d, 2 * d);
    b.output("dot narrower", narrow);
    let sum = b.step(Op::Dot(vec![(x, y), (add, scaled), (biased, biased), (x, z), (y, z)]), d, 2 * d + 7);
    b.output("dot of five", sum);
    let alike = b.step(Op::Dot(vec![(x, y), (y, x), (x, x)]), d, k - d);
    b.output("dot of alike", alike);
    let halved = b.step(Op::Halve { a: product, bits: 3 }, d + 3, k - d);
    b.output("halve", halved);
    let scales = b.step(Op::Dot(vec![(halved, x), (x, x), (halved, halved), (y, halved)]), d, k - d - 6 - d);
    b.output("dot of scales", scales);
    let added = b.step(Op::Add(halved, x), d, k - d - 3);
    b.output("add of scales", added);
    for by in [1, lanes as i64, 3 * lanes as i64, slots - lanes as i64, slots - 1] {
        let turned = b.step(Op::Rotate { a: add, by }, d, k - 20);
        b.output(&format!("rotate {by}"), turned);
    }
    let late = b.step(Op::Rotate { a: scales, by: lanes as i64 }, d, k - d - 6 - d);
    b.output("rotate late", late);
    let mut public = Tensors::from([("offset".to_owned(), Tensor::new(vec![13], (0..13).map(|i| 0.3 * f64::from(i) - 1.7).collect()))]);
    for (rows, cols, out, inputs, baby) in [(16, 16, 16, 16, 4), (8, 8, 7, 5, 3), (4, 16, 3, 16, 2), (16, 4, 15, 4, 4), (2, 2, 2, 2, 1)] {
        let name = format!("m{rows}x{cols}");
        b.plan.public.push((name.clone(), vec![out, inputs]));
        let data = (0..out * inputs).map(|i| (i as f64 * 0.37).sin()).collect();
        public.insert(name.clone(), Tensor::new(vec![out, inputs], data));
        b.plan.matrices.push(Matrix { name, ties: None, rows, cols, baby, factor: 0.75, scale: 30 });
        let id = MatrixId(b.plan.matrices.len() as u32 - 1);
        let mapped = b.step(Op::Linear(add, id), d, k - 30);
        b.output(&format!("linear {rows}x{cols}"), mapped);
        let small = b.step(Op::Linear(scales, id), d, k - d - 6 - d - 32);
        b.output(&format!("linear late {rows}x{cols}"), small);
    }
    b.plan.public.push(("zero".to_owned(), vec![2, 2]));
    public.insert("zero".to_owned(), Tensor::zeros(&[2, 2]));
    b.plan.matrices.push(Matrix { name: "zero".to_owned(), ties: None, rows: 2, cols: 2, baby: 2, factor: 1.0, scale: 30 });
    let nothing = b.step(Op::Linear(x, MatrixId(b.plan.matrices.len() as u32 - 1)), d, k - 30);
    b.output("linear zero", nothing);
    let narrowed = b.step(Op::Narrow(add), d, d + 8);
    b.output("narrow", narrowed);
    (b.finish(), public)
}

/// Two rounds: the client goes on with a value of the first, and a state is carried.
pub fn two_rounds() -> Plan {
    let (d, k) = (40, 156);
    let mut b = Builder::new(11, 52, d, k);
    b.plan.states.push(State { name: "s".to_owned(), shape: vec![16], init: StateInit::Constant(0.0), span: Span::default() });
    let state = b.plan.client.push(ClearOp::State("s".to_owned()));
    let x = b.input("x", k);
    let s = b.input_of(state, Layout::Vector { period: 16, lanes: Lanes::All, runs: Runs::DENSE }, k);
    let q = b.step(Op::Dot(vec![(x, s)]), d, 60);
    let samples = Layout::Samples { group: 0, period: 16 };
    b.output_to(Target::Value { id: 0, shape: vec![b.plan.geometry.batch, 16] }, samples, q);
    b.end_round();
    let value = b.plan.client.push(ClearOp::Decrypted(0));
    let best = b.plan.client.push(ClearOp::MaxElements(value));
    let spread = b.plan.client.push(ClearOp::Sub(value, best));
    let v = b.input_of(spread, samples, 104);
    let moved = b.step(Op::MulConst { a: v, c: 0.125, bits: 20 }, d, 70);
    let new = b.step(Op::Add(s, moved), d, 64);
    b.output_to(Target::State("s".to_owned()), Layout::Vector { period: 16, lanes: Lanes::One(3), runs: Runs::DENSE }, new);
    let both = b.step(Op::Rotate { a: moved, by: 64 }, d, 64);
    b.output("q", both);
    b.finish()
}
