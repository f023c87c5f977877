//! Partitions of carried values into packs.

/// Values that share ciphertexts, by index.
pub type Packs = Vec<Vec<usize>>;

/// Every partition of `count` values whose packs `fits` accepts, in the order of restricted growth strings: all in one pack
/// first. There are Bell(count) of them at most.
pub fn all(count: usize, fits: &impl Fn(&[usize]) -> bool) -> Vec<Packs> {
    fn grow(value: usize, count: usize, packs: &mut Packs, found: &mut Vec<Packs>, fits: &impl Fn(&[usize]) -> bool) {
        if value == count {
            found.push(packs.clone());
            return;
        }
        for at in 0..packs.len() {
            packs[at].push(value);
            if fits(&packs[at]) {
                grow(value + 1, count, packs, found, fits);
            }
            packs[at].pop();
        }
        packs.push(vec![value]);
        grow(value + 1, count, packs, found, fits);
        packs.pop();
    }
    let mut found = Vec::new();
    grow(0, count, &mut Vec::new(), &mut found, fits);
    found
}

/// First fit: each value of `order` goes to the first pack that still fits it.
pub fn first_fit(order: &[usize], fits: &impl Fn(&[usize]) -> bool) -> Packs {
    let mut packs: Packs = Vec::new();
    for &value in order {
        let with = |pack: &Vec<usize>| fits(&[&pack[..], &[value]].concat());
        match packs.iter().position(with) {
            Some(at) => packs[at].push(value),
            None => packs.push(vec![value]),
        }
    }
    ordered(packs)
}

/// Partitions one step away: a value moved to another pack or to its own, two values exchanged, two packs merged.
pub fn neighbours(packs: &Packs, fits: &impl Fn(&[usize]) -> bool) -> Vec<Packs> {
    let mut found = Vec::new();
    let mut offer = |next: Packs| {
        if next.iter().all(|pack| pack.is_empty() || fits(pack)) {
            found.push(ordered(next));
        }
    };
    for from in 0..packs.len() {
        for at in 0..packs[from].len() {
            for to in 0..=packs.len() {
                if to != from && (to < packs.len() || packs[from].len() > 1) {
                    let mut next = packs.clone();
                    next.resize(packs.len() + 1, Vec::new());
                    let value = next[from].remove(at);
                    next[to].push(value);
                    offer(next);
                }
            }
            for to in from + 1..packs.len() {
                for other in 0..packs[to].len() {
                    let mut next = packs.clone();
                    (next[from][at], next[to][other]) = (packs[to][other], packs[from][at]);
                    offer(next);
                }
            }
        }
        for to in from + 1..packs.len() {
            let mut next = packs.clone();
            let merged = next.remove(to);
            next[from].extend(merged);
            offer(next);
        }
    }
    found
}

/// Members in order, packs by their first member.
fn ordered(mut packs: Packs) -> Packs {
    packs.retain(|pack| !pack.is_empty());
    packs.iter_mut().for_each(|pack| pack.sort_unstable());
    packs.sort_unstable();
    packs
}
