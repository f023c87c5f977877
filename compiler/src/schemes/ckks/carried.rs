//! States that the server carries, where the key owner takes no part in the update: all of them rest in the lanes of few
//! ciphertexts, which one bootstrap refreshes.
//!
//! The pieces of a parameter (a diagonal, a bias) stand in neighbouring lanes; the states that belong to it (momentum,
//! target, average) stand one *block* of lanes apart. With lanes in groups of `r` and a piece in lane c of each group, r − 1
//! neighbours are reached in log2 r rotations without leaving the group: bit t of c says whether to go 2^t to the left or to
//! the right. *Unpacking* masks a lane and fills the group that way; *packing* is its transpose, and masks last. So
//! neither needs the lane axis to be cyclic, and a mask absorbs any constant.

use std::collections::BTreeMap;

use hecc_plan::{CarriedId, ClearId, ClearOp, Lanes, Layout, Op, Plain, PlainPart, PlainPattern, Runs, Span, Ties, WireId};

use super::circuit::CarriedDraft;
use super::dense::DENSE;
use super::lower::{Form, Lowering, Packing};
use super::pack::{Pieces, in_lane};
use crate::tensor::{Graph, Id, Op as TensorOp, Output, Shape};

/// Largest magnitude of weights and momenta: what a slot of a carried ciphertext is a fraction of.
pub(super) const STATE_RANGE: f64 = 4.0;

/// Where the pieces of a state rest.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Home {
    /// Which of the states of its parameter it is: weights, momentum, target.
    role: usize,
    /// First lane within the block.
    pub offset: usize,
    layouts: Vec<Layout>,
    shape: Vec<usize>,
    /// Neighbouring neurons that are all multiplied by each element.
    places: usize,
}

/// How a parameter is multiplied: as it is, with gaps between its elements, or at many places at once.
#[derive(Clone, Debug, PartialEq)]
struct Stand {
    /// What it is multiplied as.
    shape: Shape,
    /// From one diagonal that is not zero to the next.
    step: usize,
    /// Where its own rows and columns are among those.
    runs: [Runs; 2],
    /// As [`Home::places`].
    places: usize,
}

impl Stand {
    fn dense(shape: Shape) -> Self {
        Self { shape, step: 1, runs: DENSE, places: 1 }
    }

    /// How the parameter is multiplied that a node lays out; `None` where only the key owner could.
    fn of(graph: &Graph, id: Id) -> Option<Self> {
        let (node, from) = (graph.node(id), |slot: usize| graph.shape(graph.operands(id)[slot]));
        match (&node.op, node.shape) {
            // One element of a kernel is a number for all places, which stand where lanes would.
            (TensorOp::Places(w), _) => {
                let pitch = w.pitch();
                let shape = Shape::Matrix(w.outputs * pitch, w.patch() * pitch);
                Some(Self { shape, step: pitch, runs: [Runs::apart(pitch); 2], places: pitch })
            }
            (TensorOp::Expand(Ties::Pitch { run, pitch }), shape @ Shape::Matrix(..)) => {
                Some(Self { runs: [Runs::DENSE, Runs { run: *run, pitch: *pitch }], ..Self::dense(shape) })
            }
            (TensorOp::Repeat, shape @ Shape::Vector(all)) => {
                let Shape::Vector(own) = from(0) else { return None };
                let pitch = all / own;
                pitch.is_power_of_two().then(|| Self { runs: [Runs::apart(pitch), Runs::DENSE], places: pitch, ..Self::dense(shape) })
            }
            (TensorOp::Dense | TensorOp::DenseTranspose, _) => Some(Self::dense(from(1))),
            (TensorOp::Spread, _) => Some(Self::dense(from(0))),
            _ => None,
        }
    }

    /// The pieces of a parameter as gradients have them, in lane 0.
    fn pieces(&self) -> Vec<Layout> {
        let lanes = Lanes::One(0);
        match self.shape {
            Shape::Matrix(out, inputs) => super::dense::diagonals((out, inputs), self.step, lanes, self.runs),
            Shape::Vector(d) | Shape::Sample(d) => vec![Layout::Vector { period: d.next_power_of_two(), lanes, runs: self.runs[0] }],
        }
    }
}

/// How parameters are multiplied, by their states, and the node that does so.
fn stands(graph: &Graph) -> BTreeMap<String, Vec<(Stand, Id)>> {
    let mut found: BTreeMap<String, Vec<(Stand, Id)>> = BTreeMap::new();
    for id in graph.ids() {
        let operands = graph.operands(id);
        let parameter = match graph.node(id).op {
            TensorOp::Places(_) | TensorOp::Dense | TensorOp::DenseTranspose => operands[1],
            TensorOp::Expand(_) | TensorOp::Repeat | TensorOp::Spread => operands[0],
            _ => continue,
        };
        // What is laid out is seen where that is done.
        if matches!(graph.node(parameter).op, TensorOp::Expand(_) | TensorOp::Repeat) {
            continue;
        }
        let Some(stand) = Stand::of(graph, id) else { continue };
        let mut names = Vec::new();
        linked(graph, parameter, &mut names, &mut Vec::new());
        for name in names {
            let own = found.entry(name).or_default();
            if own.iter().all(|(other, _)| *other != stand) {
                own.push((stand.clone(), id));
            }
        }
    }
    found
}

/// How the carried states are packed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Shelf {
    homes: BTreeMap<String, Home>,
    /// What the states are to their parameters, by [`Home::role`].
    roles: Vec<String>,
    /// Lanes of a block, a power of two.
    block: usize,
    /// Ciphertexts of a block that does not fit into one.
    long: usize,
    /// Blocks per ciphertext.
    per: usize,
    /// Number of ciphertexts.
    count: usize,
    /// Ciphertext and block of each role, where a block fits into one.
    seats: Vec<(usize, usize)>,
    /// Lanes with samples, and with weights.
    active: usize,
    lanes: usize,
}

/// A state, or a parameter in the middle of an update, that is to stand in lanes.
pub(super) struct Item<'a> {
    /// The state that it is the new value of, if it is one.
    pub name: Option<&'a String>,
    pub home: &'a Home,
    /// The ciphertext and lane of its first piece.
    pub place: (usize, usize),
    pub form: Form,
    /// It takes its new value at every `period`-th update only, and keeps the old one at others.
    pub period: Option<u32>,
    pub span: Span,
}

/// A product that an item takes: the item, the product's node, and its factors.
type Use<'a> = (&'a Item<'a>, Id, f64, Option<ClearId>);

/// What a move of lanes is of: ciphertext, target ciphertext, distance and factor.
type Route = (WireId, usize, i64, Option<ClearId>);

/// Lanes to be moved, one mask and one rotation for each route.
#[derive(Default)]
struct Moves(BTreeMap<Route, (Vec<PlainPart>, Span)>);

impl Moves {
    #[allow(clippy::too_many_arguments, reason = "a move has two ends and a factor")]
    fn add(&mut self, wire: WireId, from: usize, item: &Item, piece: usize, lanes: usize, value: f64, by: Option<ClearId>) {
        let position = item.place.1 + piece;
        let distance = (position % lanes) as i64 - from as i64;
        let key = (wire, item.place.0 + position / lanes, distance, by);
        let part = PlainPart { layout: in_lane(item.home.layouts[piece], from), shape: item.home.shape.clone(), value };
        self.0.entry(key).or_insert_with(|| (Vec::new(), item.span)).0.push(part);
    }
}

/// What lanes are taken from: a ciphertext whose first `group` lanes are in use, the others zero.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    wire: WireId,
    group: usize,
    /// Radices of unpacking, the widest stride first; their product is the group.
    radices: Vec<usize>,
}

impl Shelf {
    /// Packs the secret states of `graph`; an error is a node that multiplies a parameter otherwise than another does.
    fn new(graph: &Graph, public: &[(String, Vec<usize>)], lanes: usize, batch: usize, packing: &Packing) -> Result<Self, Id> {
        let (families, stands) = (families(graph, public), stands(graph));
        let mut roles: Vec<String> = Vec::new();
        let mut homes = BTreeMap::new();
        let mut offset = 0;
        for Family { names, shape, .. } in families {
            let mut ways = names.iter().filter_map(|name| stands.get(name)).flatten();
            let stand = ways.next().map_or_else(|| Stand::dense(shape), |(stand, _)| stand.clone());
            if let Some((_, id)) = ways.find(|(other, _)| *other != stand) {
                return Err(*id);
            }
            let pieces = stand.pieces();
            let length = pieces.len();
            let kinds =
                if packing.apart || packing.packs.is_some() { names.iter().map(|name| role(name)).collect() } else { kinds(&names) };
            for (name, role) in names.into_iter().zip(kinds) {
                let role = roles.iter().position(|r| *r == role).unwrap_or_else(|| {
                    roles.push(role);
                    roles.len() - 1
                });
                let dims = match shape {
                    Shape::Matrix(o, i) => vec![o, i],
                    Shape::Vector(d) | Shape::Sample(d) => vec![d],
                };
                homes.insert(name, Home { role, offset, layouts: pieces.clone(), shape: dims, places: stand.places });
            }
            offset += length;
        }
        let block = offset.next_power_of_two();
        let per = if packing.apart { 1 } else { (lanes / block).clamp(1, roles.len().next_power_of_two().max(1)) };
        let mut seats: Vec<(usize, usize)> = (0..roles.len()).map(|role| (role / per, role % per)).collect();
        if let Some(packs) = packing.packs.filter(|packs| block <= lanes && roles.len() <= packs.len()) {
            for role in 0..roles.len() {
                let own = packs[role] as usize;
                seats[role] = (own, packs[..role].iter().filter(|other| **other as usize == own).count());
            }
        }
        let whole = seats.iter().map(|seat| seat.0 + 1).max().unwrap_or(0);
        let long = offset.div_ceil(lanes);
        let count = if block <= lanes { whole } else { roles.len() * long };
        let active = batch.next_power_of_two().max(block * per).min(lanes);
        Ok(Self { homes, roles, block, long, per, count, seats, active, lanes })
    }

    /// Ciphertext and block of a state, where a block fits into one.
    pub(super) fn seat(&self, name: &str) -> Option<(usize, usize)> {
        self.homes.get(name).filter(|_| self.block <= self.lanes).map(|home| self.seats[home.role])
    }

    /// Lanes of a block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    fn place(&self, home: &Home) -> (usize, usize) {
        if self.block <= self.lanes {
            let (ciphertext, block) = self.seats[home.role];
            (ciphertext, block * self.block + home.offset)
        } else {
            (home.role * self.long + home.offset / self.lanes, home.offset % self.lanes)
        }
    }

    fn group(&self) -> usize {
        (self.block * self.per).min(self.lanes)
    }
}

/// States that linear forms tie together.
#[derive(Clone, Debug)]
pub(super) struct Family {
    pub names: Vec<String>,
    /// The gradients that enter them.
    pub gradients: Vec<Id>,
    pub shape: Shape,
}

/// The families of a graph, in the order of their first names.
pub(super) fn families(graph: &Graph, public: &[(String, Vec<usize>)]) -> Vec<Family> {
    let mut family: BTreeMap<String, usize> = BTreeMap::new();
    let mut leaves: BTreeMap<Id, usize> = BTreeMap::new();
    let mut shapes: Vec<Shape> = Vec::new();
    let secret = |name: &str| !public.iter().any(|(n, _)| n == name);
    let mut join = |names: Vec<String>, gradients: Vec<Id>, shape: Shape| {
        let known: Vec<usize> =
            names.iter().filter_map(|n| family.get(n)).chain(gradients.iter().filter_map(|g| leaves.get(g))).copied().collect();
        let target = known.first().copied().unwrap_or_else(|| {
            shapes.push(shape);
            shapes.len() - 1
        });
        for value in family.values_mut().chain(leaves.values_mut()) {
            if known.contains(value) {
                *value = target;
            }
        }
        names.into_iter().for_each(|n| {
            family.insert(n, target);
        });
        gradients.into_iter().for_each(|g| {
            leaves.insert(g, target);
        });
    };
    for id in graph.ids() {
        if let TensorOp::State(name) = &graph.node(id).op
            && secret(name)
        {
            join(vec![name.clone()], Vec::new(), graph.shape(id));
        }
    }
    for (output, id) in &graph.outputs {
        if let Output::State(name) = output
            && secret(name)
        {
            let (mut names, mut gradients) = (vec![name.clone()], Vec::new());
            linked(graph, *id, &mut names, &mut gradients);
            join(names, gradients, graph.shape(*id));
        }
    }
    let mut members: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (name, index) in family {
        members.entry(index).or_default().push(name);
    }
    let mut families: Vec<Family> = members
        .into_iter()
        .map(|(index, names)| {
            let gradients = leaves.iter().filter(|(_, family)| **family == index).map(|(&id, _)| id).collect();
            Family { names, gradients, shape: shapes[index] }
        })
        .collect();
    families.sort_by(|a, b| a.names.cmp(&b.names));
    families
}

/// The states and gradients that a parameter-shaped value is made of.
fn linked(graph: &Graph, id: Id, names: &mut Vec<String>, gradients: &mut Vec<Id>) {
    match &graph.node(id).op {
        TensorOp::State(name) => names.push(name.clone()),
        TensorOp::DenseGradient | TensorOp::ConvGradient(_) | TensorOp::PlacesGradient(_) | TensorOp::SumBatch => gradients.push(id),
        _ => graph.operands(id).into_iter().for_each(|o| linked(graph, o, names, gradients)),
    }
}

/// What the states of a family are to their parameter, whichever network that is of.
fn kinds(names: &[String]) -> Vec<String> {
    let suffix = |name: &str| name.splitn(4, '.').nth(3).unwrap_or("").to_owned();
    let trained = |name: &str| names.iter().any(|other| other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')));
    let mut plain: Vec<&String> = names.iter().filter(|name| suffix(name).is_empty()).collect();
    plain.sort_by_key(|name| !trained(name));
    let kind = |name: &String| match (suffix(name), plain.iter().position(|other| *other == name)) {
        (_, Some(0)) => "weights".to_owned(),
        (_, Some(1)) => "target".to_owned(),
        (_, Some(n)) => format!("target {n}"),
        (suffix, None) => suffix,
    };
    names.iter().map(kind).collect()
}

/// What a state is to its parameter: its name without the layer.
pub(super) fn role(name: &str) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    match parts.as_slice() {
        [net, _, _] => (*net).to_owned(),
        [net, _, _, rest @ ..] => format!("{net}.{}", rest.join(".")),
        _ => name.to_owned(),
    }
}

impl Lowering<'_> {
    /// Hands the states to the server.
    pub(super) fn carry_states(&mut self, packing: Packing, periods: &[(String, u32)]) {
        self.periods = periods.to_vec();
        match Shelf::new(self.graph, &self.public, self.grid.lanes, self.grid.batch, &packing) {
            Ok(shelf) => self.shelf = Some(shelf),
            Err(id) => {
                self.unsupported(
                    "a parameter at many places here, and at single ones elsewhere, without the client",
                    self.graph.node(id).span,
                );
            }
        }
        self.packing = packing;
    }

    /// Whether the server carries the states.
    pub(super) fn carries(&self) -> bool {
        self.shelf.is_some()
    }

    /// How many blocks a carried ciphertext holds; `None` where not even one.
    pub(super) fn blocks(&self) -> Option<usize> {
        self.shelf.as_ref().map(|shelf| shelf.lanes / shelf.block).filter(|&blocks| blocks > 0)
    }

    /// A piece of a parameter in all lanes, times `factor`.
    pub(super) fn unpacked(&mut self, form: &Form, piece: usize, factor: f64, shape: &[usize], span: Span) -> Option<WireId> {
        let places = self.home(form).map_or(1, |home| home.places);
        if !form.is_of_states() || form.states.keys().any(|(_, rate)| rate.is_some()) {
            let packed = self.updated(form, shape, span)?;
            let packed = self.at_all(places, packed, span);
            return Some(self.unpack(&packed, piece, factor * STATE_RANGE, span));
        }
        let mut sum: Option<WireId> = None;
        for ((name, _), c) in form.states.clone() {
            let (packed, lane) = self.carried_lane(&name, piece, span);
            let packed = self.at_all(places, packed, span);
            let part = self.unpack(&packed, lane, factor * c * STATE_RANGE, span);
            sum = Some(sum.map_or(part, |sum| self.circuit.push(Op::Add(sum, part), span)));
        }
        sum
    }

    /// What stands at the first of so many places, at all of them. The others hold nothing but noise before, in the lanes of what is at
    /// many places; what becomes of other lanes, the masks of unpacking take away.
    fn at_all(&mut self, places: usize, packed: Packed, span: Span) -> Packed {
        let mut wire = packed.wire;
        for t in 0..places.ilog2() {
            let copied = self.circuit.rotate(wire, -((self.grid.lanes << t) as i64), span);
            wire = self.circuit.push(Op::Add(wire, copied), span);
        }
        Packed { wire, ..packed }
    }

    /// The home of a state that a form is of.
    fn home(&self, form: &Form) -> Option<&Home> {
        let shelf = self.shelf.as_ref()?;
        form.states.keys().find_map(|(name, _)| shelf.homes.get(name))
    }

    /// Whether parameters rest as this node lays them out, or takes them apart.
    pub(super) fn stands_as(&self, id: Id) -> bool {
        match &self.graph.node(id).op {
            TensorOp::Expand(_) | TensorOp::Repeat => Stand::of(self.graph, id).is_some(),
            TensorOp::Collect(ties) => matches!(ties, Ties::Pitch { .. }),
            TensorOp::SumRuns => true,
            _ => false,
        }
    }

    fn carried_lane(&mut self, name: &str, piece: usize, span: Span) -> (Packed, usize) {
        let shelf = self.shelf.clone().expect("only plans with carried states ask");
        let home = &shelf.homes[name];
        let (carried, lane) = shelf.place(home);
        let position = lane + piece;
        let wire = self.circuit.push(Op::Carried(CarriedId((carried + position / shelf.lanes) as u32)), span);
        let group = shelf.group();
        let radices = radices(&[shelf.per, group / shelf.per], self.packing.unpack);
        (Packed { wire, group, radices }, position % shelf.lanes)
    }

    /// Masks a lane and fills all lanes with it.
    fn unpack(&mut self, packed: &Packed, lane: usize, factor: f64, span: Span) -> WireId {
        let active = self.shelf.as_ref().map_or(self.grid.lanes, |s| s.active);
        let mut wire = packed.wire;
        let mut stride = packed.group;
        while stride < active {
            let copied = self.circuit.rotate(wire, -(stride as i64), span);
            wire = self.circuit.push(Op::Add(wire, copied), span);
            stride *= 2;
        }
        let mut group = packed.group;
        for (level, &radix) in packed.radices.iter().enumerate() {
            let stride = group / radix;
            let class = (lane % group) / stride;
            let value = if level + 1 == packed.radices.len() { factor } else { 1.0 };
            let values = (0..group).map(|b| if b / stride == class { value } else { 0.0 }).collect();
            wire = self.masked_lanes(wire, PlainPattern::Lanes { values }, span);
            for t in 0..radix.ilog2() {
                let by = (stride << t) as i64;
                // A lane with bit t clear fills the one to its right.
                let copied = self.circuit.rotate(wire, if class >> t & 1 == 0 { -by } else { by }, span);
                wire = self.circuit.push(Op::Add(wire, copied), span);
            }
            group = stride;
        }
        wire
    }

    pub(super) fn masked_lanes(&mut self, wire: WireId, pattern: PlainPattern, span: Span) -> WireId {
        let plain = self.circuit.plain(Plain { pattern, scale: self.packing.mask_bits });
        self.circuit.push(Op::MulPlain(wire, plain), span)
    }

    /// A parameter that this update has changed, for use in the same update.
    fn updated(&mut self, form: &Form, shape: &[usize], span: Span) -> Option<Packed> {
        let key = format!("{form:?}");
        if let Some(packed) = self.updated.get(&key) {
            return Some(packed.clone());
        }
        let home = match self.home(form) {
            // Products of its optimiser stand in its own lanes.
            Some(home) => home.clone(),
            None => {
                let stand = Stand::dense(match *shape {
                    [out, inputs] => Shape::Matrix(out, inputs),
                    _ => Shape::Vector(shape.iter().product()),
                });
                Home { role: 0, offset: 0, layouts: stand.pieces(), shape: shape.to_vec(), places: 1 }
            }
        };
        if home.layouts.len() > self.grid.lanes {
            self.unsupported("a layer this wide that is used below its own `minimize`, without the client", span);
            return None;
        }
        let group = home.layouts.len().next_power_of_two();
        let item = Item { name: None, home: &home, place: (0, 0), form: form.clone(), period: None, span };
        let wire = self.put(&[item])?.remove(&0)?;
        let packed = Packed { wire, group, radices: radices(&[group], self.packing.unpack) };
        self.updated.insert(key, packed.clone());
        Some(packed)
    }

    /// The carried ciphertexts at the end of the update.
    pub(super) fn carry(&mut self, forms: &[(String, Form, Span)]) {
        let Some(shelf) = self.shelf.clone() else { return };
        let forms: BTreeMap<&String, (&Form, Span)> = forms.iter().map(|(name, form, span)| (name, (form, *span))).collect();
        let items: Vec<Item> = shelf
            .homes
            .iter()
            .map(|(name, home)| {
                let still = Form { states: [((name.clone(), None), 1.0)].into(), ..Form::default() };
                let period = self.periods.iter().find(|(n, _)| n == name).map(|(_, period)| *period);
                let settled = period.and_then(|period| self.settled.iter().find(|(of, _)| *of == period)).map(|(_, due)| *due);
                let form = forms.get(name).filter(|_| settled != Some(false));
                let (form, span) = form.map_or((still, Span::default()), |(form, span)| ((*form).clone(), *span));
                let period = period.filter(|_| settled.is_none());
                Item { name: Some(name), home, place: shelf.place(home), form, period, span }
            })
            .collect();
        // What an update leaves as it is stays what it is, and spends nothing.
        let changes = |item: &Item| item.form.single().as_ref() != item.name || item.period.is_some();
        let mut changed = vec![false; shelf.count];
        for item in items.iter().filter(|item| changes(item)) {
            let (first, lane) = item.place;
            (0..item.home.layouts.len()).for_each(|piece| changed[first + (lane + piece) / shelf.lanes] = true);
        }
        let held = |item: &Item| {
            let (first, lane) = item.place;
            (0..item.home.layouts.len()).any(|piece| changed[first + (lane + piece) / shelf.lanes])
        };
        let items: Vec<Item> = items.into_iter().filter(held).collect();
        let Some(mut wires) = self.put(&items) else { return };
        for carried in (0..shelf.count).filter(|&carried| !changed[carried]) {
            wires.insert(carried, self.circuit.push(Op::Carried(CarriedId(carried as u32)), Span::default()));
        }
        for carried in 0..shelf.count {
            let contents = shelf.homes.iter().flat_map(|(name, home)| {
                let (first, lane) = shelf.place(home);
                let shelf = &shelf;
                home.layouts.iter().enumerate().filter_map(move |(piece, &layout)| {
                    let position = lane + piece;
                    (first + position / shelf.lanes == carried).then(|| hecc_plan::Content {
                        tensor: hecc_plan::Target::State(name.clone()),
                        layout: in_lane(layout, position % shelf.lanes),
                        factor: STATE_RANGE,
                    })
                })
            });
            let contents = contents.collect();
            let Some(&wire) = wires.get(&carried) else { continue };
            let holds = |home: &&Home| {
                let (first, lane) = shelf.place(home);
                (0..home.layouts.len()).any(|piece| first + (lane + piece) / shelf.lanes == carried)
            };
            let mut roles: Vec<usize> = shelf.homes.values().filter(holds).map(|home| home.role).collect();
            roles.sort_unstable();
            roles.dedup();
            let label = roles.iter().map(|&role| shelf.roles[role].as_str()).collect::<Vec<_>>().join(" + ");
            self.circuit.carried.push(CarriedDraft { label, contents, wire });
        }
    }

    /// Sums of states and gradients, each at its place: one wire per ciphertext.
    pub(super) fn put(&mut self, items: &[Item]) -> Option<BTreeMap<usize, WireId>> {
        let lanes = self.grid.lanes;
        let shelf = self.shelf.clone()?;
        let mut moves = Moves::default();
        let mut gradients: Vec<(usize, &Item, f64, Option<ClearId>)> = Vec::new();
        let mut products: BTreeMap<String, Vec<Use<'_>>> = BTreeMap::new();
        let mut directions: Vec<(String, Pieces, usize)> = Vec::new();
        let mut offset = 0;
        for item in items {
            if item.form.constant != 0.0 {
                self.unsupported("a constant in a new state", item.span);
                return None;
            }
            let due = item.period.map(|period| self.client.due(period));
            let mut terms: Vec<(String, f64, Option<ClearId>)> = Vec::new();
            for ((name, rate), &c) in &item.form.states {
                terms.push((name.clone(), c, self.factor(*rate, due)));
            }
            if let (Some(due), Some(name)) = (due, item.name) {
                let rest = self.client.push(ClearOp::Affine { x: due, factor: -1.0, offset: 1.0 });
                terms.push((name.clone(), 1.0, Some(rest)));
            }
            for (name, c, by) in terms {
                let (first, lane) = shelf.place(&shelf.homes[&name]);
                for piece in 0..item.home.layouts.len() {
                    let position = lane + piece;
                    let wire = self.circuit.push(Op::Carried(CarriedId((first + position / lanes) as u32)), item.span);
                    moves.add(wire, position % lanes, item, piece, lanes, c, by);
                }
            }
            for (&(id, rate), &c) in &item.form.products {
                products.entry(self.class(id)).or_default().push((item, id, c, self.factor(rate, due)));
            }
            let mut at_rates: BTreeMap<Option<usize>, BTreeMap<Id, f64>> = BTreeMap::new();
            for (&(id, rate), &c) in &item.form.gradients {
                at_rates.entry(rate).or_default().insert(id, c);
            }
            for (rate, gradient) in at_rates {
                let lead = gradient.values().next().copied().unwrap_or(1.0);
                let ratios: BTreeMap<Id, f64> = gradient.into_iter().map(|(id, c)| (id, c / lead)).collect();
                let key = format!("{:?}", ratios.iter().map(|(id, r)| (id, format!("{r:.12e}"))).collect::<Vec<_>>());
                let (pieces, factor) = self.combined(&ratios, item.span)?;
                let found = directions.iter().position(|(k, ..)| *k == key);
                let index = found.unwrap_or_else(|| {
                    offset += pieces.len();
                    directions.push((key, pieces.clone(), offset - pieces.len()));
                    directions.len() - 1
                });
                gradients.push((index, item, lead * factor, self.factor(rate, due)));
            }
        }
        if !directions.is_empty() {
            let numbered = |(_, pieces, first): &(String, Pieces, usize)| -> Vec<(WireId, usize)> {
                pieces.iter().enumerate().map(|(i, (wire, _))| (*wire, first + i)).collect()
            };
            let pieces: Vec<(WireId, usize)> = directions.iter().flat_map(numbered).collect();
            let (sums, halved) = self.pack_lanes(&pieces, items[0].span);
            for (index, item, coefficient, by) in gradients {
                let value = coefficient * f64::from(halved).exp2() / STATE_RANGE;
                for piece in 0..item.home.layouts.len() {
                    let from = directions[index].2 + piece;
                    // At the first place: what others hold, the mask takes away.
                    let sum = self.circuit.rotate_and_sum(sums[from / lanes], lanes, item.home.places, item.span);
                    moves.add(sum, from % lanes, item, piece, lanes, value, by);
                }
            }
        }
        for users in products.into_values() {
            let mut members: Vec<(Home, Id)> = users.iter().map(|(item, id, ..)| (item.home.clone(), *id)).collect();
            members.sort_by_key(|(_, id)| *id);
            members.dedup_by_key(|(_, id)| *id);
            let product = self.product(&members, items[0].span)?;
            for (item, _, c, by) in users {
                for piece in 0..item.home.layouts.len() {
                    let value = c * product.factor / STATE_RANGE;
                    moves.add(product.wires[0], item.home.offset + piece, item, piece, lanes, value, by);
                }
            }
        }
        let mut sums: BTreeMap<usize, WireId> = BTreeMap::new();
        for ((wire, target, distance, by), (parts, span)) in moves.0 {
            let masked = self.masked_lanes(wire, PlainPattern::Parts { parts, by }, span);
            let moved = self.circuit.rotate(masked, -distance, span);
            let sum = sums.get(&target).map_or(moved, |&sum| self.circuit.push(Op::Add(sum, moved), span));
            sums.insert(target, sum);
        }
        Some(sums)
    }

    /// The product of a learning rate that changes and of whether the update counts.
    pub(super) fn factor(&mut self, rate: Option<usize>, due: Option<ClearId>) -> Option<ClearId> {
        let rate = rate.map(|rate| self.client.rate(&self.rates[rate]));
        match (rate, due) {
            (Some(rate), Some(due)) => Some(self.client.push(ClearOp::Mul(rate, due))),
            (one, other) => one.or(other),
        }
    }

    /// Sums every piece over its lanes, each into the lane of its number; what other lanes hold is left to the masks that
    /// follow. The sums are divided by 2 to the power of the second result.
    fn pack_lanes(&mut self, pieces: &[(WireId, usize)], span: Span) -> (Vec<WireId>, u32) {
        let lanes = self.grid.lanes;
        let count = pieces.len();
        let block = count.next_power_of_two().min(lanes);
        let active = self.shelf.as_ref().map_or(lanes, |s| s.active).max(block);
        let halved = active.ilog2();
        let sums = pieces
            .chunks(lanes)
            .map(|chunk| {
                let mut level: BTreeMap<usize, WireId> = chunk.iter().map(|&(wire, position)| (position % lanes, wire)).collect();
                let mut stride = 1;
                for radix in radices(&[block], self.packing.pack).into_iter().rev() {
                    let mut next: BTreeMap<usize, WireId> = BTreeMap::new();
                    for (position, mut wire) in level {
                        let class = position % radix;
                        for t in 0..radix.ilog2() {
                            let by = (stride << t) as i64;
                            let other = self.circuit.rotate(wire, if class >> t & 1 == 0 { by } else { -by }, span);
                            wire = self.circuit.push(Op::Add(wire, other), span);
                        }
                        if radix == 1 {
                            next.insert(position, wire);
                            continue;
                        }
                        let group = stride * radix;
                        let values = (0..group).map(|b| f64::from(u8::from(b / stride == class))).collect();
                        let masked = self.masked_lanes(wire, PlainPattern::Lanes { values }, span);
                        let sum = next.get(&(position / radix)).map_or(masked, |&sum| self.circuit.push(Op::Add(sum, masked), span));
                        next.insert(position / radix, sum);
                    }
                    level = next;
                    stride *= radix;
                }
                let sum = level.into_values().next().expect("a chunk has a piece");
                let whole = self.circuit.rotate_and_sum(sum, block, active / block, span);
                // Sums over the batch are as much larger than a weight as there are samples.
                let c = f64::from(halved).exp2().recip();
                if halved == 0 { whole } else { self.circuit.push(Op::MulConst { a: whole, c, bits: halved }, span) }
            })
            .collect();
        (sums, halved)
    }
}

/// Splits each of `parts` (powers of two) into up to `levels` radices of like size; 0 makes one radix of everything.
fn radices(parts: &[usize], levels: usize) -> Vec<usize> {
    let mut all = Vec::new();
    if levels == 0 {
        all.push(parts.iter().product());
    }
    for &part in parts.iter().filter(|_| levels > 0) {
        let mut bits = part.ilog2() as usize;
        let mut left = levels;
        while bits > 0 {
            let take = bits.div_ceil(left);
            all.push(1 << take);
            bits -= take;
            left -= 1;
        }
    }
    if all.is_empty() { vec![1] } else { all }
}
