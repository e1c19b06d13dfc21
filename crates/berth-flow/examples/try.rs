//! Scratch.
use berth_flow::*;
use std::io::BufRead;
fn read(p: &str) -> Instance {
    let f = std::io::BufReader::new(std::fs::File::open(p).unwrap());
    let mut i = Instance::default();
    for l in f.lines() {
        let l = l.unwrap();
        let mut w = l.split(' ');
        match w.next() {
            Some("p") => { w.next(); i.supplies = vec![0; w.next().unwrap().parse().unwrap()]; }
            Some("n") => { let n: usize = w.next().unwrap().parse().unwrap(); i.supplies[n - 1] = w.next().unwrap().parse().unwrap(); }
            Some("a") => {
                let v: Vec<i64> = w.map(|x| x.parse().unwrap()).collect();
                i.arcs.push(Arc { tail: NodeId(v[0] as u32 - 1), head: NodeId(v[1] as u32 - 1), lower: v[2], capacity: v[3], cost: v[4] });
            }
            _ => {}
        }
    }
    i
}
fn cpu() -> f64 {
    let mut t = [0i64; 2];
    unsafe extern "C" { fn clock_gettime(c: i32, t: *mut i64) -> i32; }
    unsafe { clock_gettime(3, t.as_mut_ptr()); }
    t[0] as f64 * 1e3 + t[1] as f64 / 1e6
}
fn check(n: &Network) {
    let s = n.solution();
    let mut ex: Vec<i64> = vec![0; s.prices.len()];
    for (id, sup) in n.nodes() { ex[id.0 as usize] = sup; }
    for (id, a) in n.arcs() {
        let f = s.flows[id.0 as usize];
        assert!(f >= a.lower && f <= a.capacity);
        let rc = a.cost + s.prices[a.head.0 as usize] - s.prices[a.tail.0 as usize];
        assert!(!(rc < 0 && f < a.capacity), "rc {rc} {a:?} {f}");
        assert!(!(rc > 0 && f > a.lower), "rc {rc} {a:?} {f}");
        ex[a.tail.0 as usize] -= f; ex[a.head.0 as usize] += f;
    }
    assert!(ex.iter().all(|e| *e == 0));
}
fn main() {
    let files: Vec<String> = std::env::args().skip(1).collect();
    for f in files {
        let base = read(&format!("{f}.base.min"));
        let changed = read(&format!("{f}.changed.min"));
        let mut n = Network::from_instance(&base).unwrap();
        let t = cpu();
        let o = n.solve(Budget::UNLIMITED);
        let scratch = cpu() - t;
        check(&n);
        println!("{f} scratch {scratch:.1} ms {o:?}");
        let mut changes = vec![];
        for i in base.supplies.len()..changed.supplies.len() { changes.push(Change::AddNode { supply: changed.supplies[i] }); }
        for i in 0..base.supplies.len() { if base.supplies[i] != changed.supplies[i] { changes.push(Change::SetSupply { node: NodeId(i as u32), supply: changed.supplies[i] }); } }
        for a in &changed.arcs[base.arcs.len()..] { changes.push(Change::AddArc(*a)); }
        let t = cpu();
        for c in &changes { n.apply(c).unwrap(); }
        let t2 = cpu();
        let o = n.resolve(Budget::UNLIMITED);
        let re = cpu() - t;
        check(&n);
        println!("{f} resolve {re:.3} ms (apply {:.3}) {o:?}", t2 - t);
    }
}
