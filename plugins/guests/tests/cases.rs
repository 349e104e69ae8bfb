//! The cases of guests, replayed natively by the SDK. The host replays them with the component (`plugins/host/tests/it/shipped.rs`):
//! so what one of them takes out of a message, or makes of a decision, the other does too.

#[path = "../examples/scripted.rs"]
mod scripted;

#[test]
fn scripted_decides_its_cases_as_they_say() {
    larder_policy::testing::check_cases::<scripted::Scripted>("cases/scripted");
}
