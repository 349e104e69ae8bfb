//! Made for a version of `larder:policy` that this host does not know.

struct OtherVersion;

impl guests::other_version::Guest for OtherVersion {
    fn describe() -> String {
        "from another time".to_owned()
    }
}

// The names of the exports mean something to a component's linker alone.
#[cfg(target_family = "wasm")]
guests::other_version::__export_other_version!(OtherVersion with_types_in guests::other_version);
// Elsewhere it would count as never used.
#[cfg(not(target_family = "wasm"))]
const _: fn() -> String = <OtherVersion as guests::other_version::Guest>::describe;
