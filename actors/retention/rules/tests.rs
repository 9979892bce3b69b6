use super::*;
use proptest::prelude::*;

const DAY: i64 = 86_400;
/// 2026-03-02.
const TODAY: i32 = 20_514;

fn keep(last: usize, days: u32, monthly: u32) -> Keep {
    Keep { last, days, monthly }
}

/// One pack a day, the newest last, that needs nothing.
fn daily(n: i32) -> Vec<Candidate> {
    (0..n)
        .map(|i| {
            let as_of = TODAY - n + 1 + i;
            let id = format!("p{:03}", n - 1 - i);
            Candidate {
                id,
                as_of,
                created_at: i64::from(as_of) * DAY,
                needs: Some(BTreeSet::new()),
                ..Candidate::default()
            }
        })
        .collect()
}

fn kept(packs: &[Candidate], rules: &Keep) -> Vec<String> {
    let all = decide(packs, Some(rules), i64::from(TODAY) * DAY);
    all.into_iter().filter(|d| !d.why.is_empty()).map(|d| d.id).collect()
}

fn why(packs: &[Candidate], rules: &Keep, id: &str) -> String {
    let all = decide(packs, Some(rules), i64::from(TODAY) * DAY);
    let d = all.into_iter().find(|d| d.id == id).unwrap();
    d.why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn each_rule_keeps_its_own_and_the_newest_always_stays() {
    let packs = daily(70);
    assert_eq!(kept(&packs, &keep(2, 0, 0)), ["p000", "p001"]);
    assert_eq!(kept(&packs, &keep(0, 0, 0)), ["p000"]);
    assert_eq!(kept(&packs, &keep(0, 3, 0)), ["p000", "p001", "p002"]);
    // 2026-03-02 is today; the newest of February is two days old, that of January thirty.
    assert_eq!(kept(&packs, &keep(1, 0, 3)), ["p000", "p002", "p030"]);
    assert_eq!(why(&packs, &keep(1, 0, 3), "p030"), "the newest of 2026-01");
    assert_eq!(decide(&packs, None, 0).iter().filter(|d| d.why.is_empty()).count(), 0);
}

#[test]
fn what_a_kept_pack_needs_stays_at_any_depth() {
    let mut packs = daily(6);
    let needs = |n: &[&str]| Some(n.iter().map(|s| (*s).to_owned()).collect());
    let mut of = |id: &str, n: &[&str]| packs.iter_mut().find(|c| c.id == id).unwrap().needs = needs(n);
    of("p000", &["p002"]);
    of("p002", &["p005"]);
    assert_eq!(kept(&packs, &keep(1, 0, 0)), ["p000", "p002", "p005"]);
    assert_eq!(why(&packs, &keep(1, 0, 0), "p005"), "needed by p002");
    packs.iter_mut().find(|c| c.id == "p002").unwrap().needs = None;
    assert_eq!(
        kept(&packs, &keep(1, 0, 0)),
        ["p000", "p002", "p003", "p004", "p005"],
        "unknown needs keep all that is older"
    );
}

#[test]
fn a_clock_behind_the_newest_pack_removes_nothing() {
    let packs = daily(5);
    let all = decide(&packs, Some(&keep(1, 0, 0)), i64::from(TODAY) * DAY - 1);
    assert!(all.iter().all(|d| d.why.iter().any(|w| matches!(w, Why::Clock(_)))), "{all:?}");
}

#[test]
fn what_the_folder_of_a_kept_date_links_to_stays() {
    let mut packs = daily(3);
    let mut rerun = packs[0].clone();
    packs[0].held.push(Why::Pinned("x".into()));
    (rerun.id, rerun.created_at, rerun.linked) = ("rerun".into(), rerun.created_at + 60, true);
    packs.push(rerun);
    assert_eq!(kept(&packs, &keep(1, 0, 0)), ["p000", "rerun", "p002"]);
    packs[0].held.clear();
    assert_eq!(kept(&packs, &keep(1, 0, 0)), ["p000"], "the folder goes with its date");
}

prop_compose! {
    fn some_packs()(n in 1usize..24)(
        rows in prop::collection::vec((0i32..90, 0i64..DAY, 0u8..40, any::<bool>(), prop::collection::btree_set(0usize..24, 0..4), 0u8..12), n)
    ) -> Vec<Candidate> {
        rows.into_iter().enumerate().map(|(i, (back, second, held, linked, needs, unknown))| {
            let as_of = TODAY - back;
            let held = match held { 0 => vec![Why::Pinned("p".into())], 1 => vec![Why::NotAt("b".into())], 2 => vec![Why::Incident(7)], _ => vec![] };
            let needs = needs.into_iter().filter(|n| *n != i).map(|n| format!("id{n:02}")).collect();
            Candidate {
                id: format!("id{i:02}"), as_of, created_at: i64::from(as_of) * DAY + second, held,
                needs: (unknown > 0).then_some(needs), linked,
            }
        }).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn nothing_that_a_kept_pack_needs_goes_and_twice_removes_no_more(
        packs in some_packs(), last in 0usize..5, days in 0u32..40, monthly in 0u32..4, late in -2i64..3
    ) {
        let rules = keep(last, days, monthly);
        let now = i64::from(TODAY + 1) * DAY + late * DAY;
        let decided = decide(&packs, Some(&rules), now);
        prop_assert_eq!(decided.len(), packs.len());
        let stays: BTreeSet<&str> = decided.iter().filter(|d| !d.why.is_empty()).map(|d| d.id.as_str()).collect();
        let newest = packs.iter().max_by_key(|c| (c.created_at, c.id.clone())).unwrap();
        prop_assert!(stays.contains(newest.id.as_str()));
        for c in packs.iter() {
            if stays.contains(c.id.as_str()) {
                for need in c.needs.iter().flatten() {
                    prop_assert!(stays.contains(need.as_str()) || packs.iter().all(|p| p.id != *need), "{} needs {need}", c.id);
                }
                if c.needs.is_none() {
                    let older = packs.iter().filter(|o| (o.created_at, &o.id) < (c.created_at, &c.id));
                    prop_assert!(older.clone().all(|o| stays.contains(o.id.as_str())), "{} is unknown", c.id);
                }
            } else {
                prop_assert!(c.held.is_empty() && newest.created_at <= now);
                prop_assert!(days == 0 || c.created_at <= now - i64::from(days) * DAY);
                prop_assert!(!c.linked || packs.iter().all(|o| o.as_of != c.as_of || !stays.contains(o.id.as_str())));
            }
        }
        prop_assert!(stays.len() >= last.min(packs.len()));
        let left: Vec<Candidate> = packs.iter().filter(|c| stays.contains(c.id.as_str())).cloned().collect();
        let again = decide(&left, Some(&rules), now);
        prop_assert!(again.iter().all(|d| !d.why.is_empty()), "twice removes more: {:?}", again);
    }
}
