fn main() {
    let path = std::env::args().nth(1).unwrap();
    let source = std::fs::read_to_string(path).unwrap();
    let t = std::time::Instant::now();
    match hecc_compiler::compile(&source, &hecc_compiler::Options::default()) {
        Ok(c) => {
            let n = hecc_plan::counts::counts(&c.plan);
            eprintln!("compiled in {:?}", t.elapsed());
            if std::env::args().nth(2).is_some() { println!("{}\n{}", c.graph.print(), hecc_plan::print(&c.plan)); }
            eprintln!("{:?}\n{:?}\n{:?}", c.plan.ckks, c.plan.geometry, n);
            eprintln!("steps {} inputs {} outputs {} notes {:?}", c.plan.steps.len(), c.plan.inputs.len(), c.plan.outputs.len(), c.plan.notes);
            for o in &c.plan.outputs { eprintln!("output {} k={}", o.label, c.plan.steps[o.wire.index()].wire.k); }
        }
        Err(e) => for d in e { eprintln!("{d:?}") },
    }
}
