// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Deployments, leases and their pay
/// @notice deploy -> bid -> assign -> (anchor, open, settle)* -> stop | expire | refuse | exhausted.
/// Times are Unix seconds; rates are wei per second; amounts are wei.
interface IDaeeManager {
    enum Phase {
        None,
        Bidding, // open for bids
        Leased, // assigned; earns from the first opened leaf on
        Closing, // exit fixed an end time; the final leaf may still be opened
        Closed // refunded, over
    }

    struct Terms {
        uint32 cpuMilli;
        uint32 memMiB;
        uint16 gpu;
        uint8 policy; // 0: lowest price
        uint8 tier; // reserved, 0
        uint32 artifactBytes; // size of the artifact; the deploy fee grows with it
        uint32 bidWindow; // seconds bids are taken; late bids extend it up to twice
        uint32 startWindow; // seconds from assign to the first opened leaf
        uint32 interval; // seconds; a node's anchorInterval must not be longer
        uint32 grace; // seconds of silence beyond the interval before expire
        uint32 openWindow; // seconds after an exit in which the final leaf may be anchored and opened
        uint128 rateMax; // wei per second
    }

    /// Same fields and order as the EIP-712 type in daee-types (MARKET rule 1).
    struct Checkpoint {
        uint256 deployment;
        bytes32 epoch;
        uint64 seq;
        bytes32 prevLeafHash;
        uint64 turn;
        bytes32 preRoot;
        bytes32 stateRoot;
        bytes32 logRoot;
        bytes32 transcriptRoot;
        bytes32 artifactHash;
        uint32 runtimeVersion;
        uint64 fuel;
        uint64 coveredSeconds;
    }

    struct Version {
        bytes32 artifactHash;
        bytes32 bodyHash;
        bytes32 manifestHash; // sha256("daee.manifest.v1" zero-padded to 32 bytes, artifactHash, bodyHash)
        uint32 number; // 1, 2, ...
    }

    // Fields stand in the order that packs them: what one call writes together shares a slot.
    struct Lease {
        address node; // best bidder while Bidding, lessee after
        uint32 count; // leases so far, this one included
        uint64 assignedAt;
        uint128 rate;
        uint128 bond;
        bytes32 epoch; // keccak256(blockhash(assignment block - 1), deployment, count)
        uint64 startedAt; // first opened leaf, 0 before
        uint64 coveredBase; // the node's covered seconds that came before pay began
        uint64 coveredPaid; // of those since, paid so far
        uint64 seq; // last opened leaf
        bytes32 leafHash;
        uint64 endTime; // set by an exit, 0 before
        uint64 coveredLimit; // once an exit fixed endTime: the node's covered seconds that still count
        uint64 tailCredit; // added to the limit when the final leaf is opened
        uint8 exit; // reason of the exit, 0 before
        bool finalOpen; // the final leaf is open
    }

    struct Deployment {
        address owner;
        Phase phase;
        uint64 bidsClose;
        uint24 bidsExtended; // seconds that late bids added to this window so far, at most one bidWindow
        uint128 balance; // escrow not yet paid
        uint128 paid;
        bytes32 stateRoot; // last opened root, survives leases
        string agentId;
        Terms terms;
        Version version; // what runs
        Version pending; // what was asked for by update; number 0 = none
        uint64 pendingUntil; // the lessee may accept it until then
        Lease lease;
    }

    struct Coverage {
        uint64 lastAnchor; // time
        uint64 covered; // seconds credited in the node's life (MARKET rules 2, 3)
        uint64 anchors; // count
        uint32 interval; // the node's anchorInterval, as it registered; 0 before its first anchor
    }

    event Deployed(uint256 indexed id, address indexed owner, string agentId, bytes artifactCid, bytes32 artifactHash, bytes32 bodyHash, bytes32 manifestHash, uint128 payment);
    event BidPlaced(uint256 indexed id, address indexed node, uint128 rate, uint64 bidsClose);
    event Assigned(uint256 indexed id, address indexed node, bytes32 epoch, uint128 rate, uint128 bond);
    event Anchored(address indexed node, bytes32 root, uint64 covered);
    event Opened(uint256 indexed id, bytes32 indexed epoch, uint64 seq, bytes32 leafHash, bytes32 stateRoot, bytes32 logRoot, bytes32 transcriptRoot);
    event Settled(uint256 indexed id, address indexed node, uint256 amount, uint64 seconds_);
    event UpdateProposed(uint256 indexed id, uint32 number, bytes artifactCid, bytes32 artifactHash, bytes32 bodyHash);
    event Updated(uint256 indexed id, uint32 number, bytes32 artifactHash);
    event ToppedUp(uint256 indexed id, address indexed from, uint256 amount);
    event Ending(uint256 indexed id, address indexed node, uint64 endTime, uint8 reason); // 1 stopped, 2 refused, 3 exhausted
    event Expired(uint256 indexed id, address indexed node, uint256 cut, uint256 bounty, address indexed by);
    event Relisted(uint256 indexed id, uint64 bidsClose, bytes32 stateRoot);
    event Closed(uint256 indexed id, uint256 refund);
    event EvidenceCommitted(address indexed reporter, bytes32 commitment);
    event Equivocated(uint256 indexed id, bytes32 indexed epoch, address indexed node, uint64 seq, uint256 slashed, address reporter);
    event Withdrawn(address indexed account, address to, uint256 amount);

    error UnknownDeployment(uint256 id);
    error WrongPhase(Phase phase);
    error NotOwner(address caller);
    error NotLessee(address caller);
    error CidNotRawSha256(); // only a CIDv1 raw sha2-256 block of at most 1 MiB in this version
    error CidIsNotTheHash(bytes32 inCid, bytes32 artifactHash);
    error ArtifactTooLarge(uint256 size, uint256 limit);
    error BadTerms(string field);
    error PaymentBelowMinimum(uint256 payment, uint256 minimum);
    error BidsAreClosed(uint64 closedAt);
    error BidsAreOpen(uint64 closeAt);
    error NotBetter(uint256 rate, uint256 mustBeAtMost);
    error WrongManifest(bytes32 given, bytes32 offered);
    error RateAboveMaximum(uint256 rate, uint256 maximum);
    error IntervalTooLong(uint256 nodeInterval, uint256 maximum);
    error NotAnchored(bytes32 root); // not by this lease's node, or not among its last roots, or before the lease
    error StaleEpoch(bytes32 given, bytes32 current);
    error SeqNotHigher(uint64 given, uint64 last);
    error WrongPreRoot(bytes32 given, bytes32 expected);
    error WrongArtifact(bytes32 given, bytes32 expected);
    error CoverageOverstated(uint64 given, uint64 credited);
    error NotExpired(uint64 expiresAt);
    error TooEarly(uint64 time);
    error TooLate(uint64 time);
    error NothingToDo();
    error NotEvidence(string why);

    /// @notice Opens a deployment for bids and takes `payment` into its escrow; burns a fee by size (MARKET rule 10).
    function deploy(string calldata agentId, bytes calldata artifactCid, bytes32 artifactHash, bytes32 bodyHash, Terms calldata terms, uint128 payment) external returns (uint256 id);
    /// @notice By a registered operator, while bids are open: better than the last by 1 % or more. `manifestHash` is that
    /// of the version whose bytes the bidder has verified (MARKET rule 10).
    function bid(uint256 id, uint128 rate, bytes32 manifestHash) external;
    /// @notice By anyone, once bids are closed: the best bid becomes a lease of a new epoch (MARKET rule 7); where nobody
    /// bid, bids open again (rule 11).
    function assign(uint256 id) external;
    /// @notice By a registered operator, once an interval (MARKET rules 1 to 3).
    function anchor(bytes32 root) external;
    /// @notice By anyone: shows one leaf of an anchored root and moves the state on (MARKET rule 1). Pay begins with the
    /// first.
    function open(uint256 id, Checkpoint calldata leaf, bytes32[] calldata proof) external;
    /// @notice By anyone: pays what is due; a deployment whose escrow is spent begins to end. Others are passed over.
    function settle(uint256[] calldata ids) external;
    /// @notice By anyone, for a bounty: ends a lease whose node did not start in time, or was silent for longer than
    /// interval + grace (MARKET rules 3 and 18).
    function expire(uint256 id) external;
    /// @notice By the owner: closes, at once where nobody has the lease, else after its final leaf (MARKET rule 5).
    function stop(uint256 id) external;
    /// @notice By anyone: ends what was closing, once the final leaf is open or its window over (MARKET rule 5).
    function finish(uint256 id) external;
    /// @notice By the owner: asks for another version (MARKET rule 10). Without a lessee it is offered at once.
    function update(uint256 id, bytes calldata artifactCid, bytes32 artifactHash, bytes32 bodyHash, uint32 artifactBytes) external;
    /// @notice By the lessee while an update waits, or by the owner once that timed out: the lease ends at no cost and
    /// bids open for the new version (MARKET rule 10).
    function refuseUpdate(uint256 id) external;
    /// @notice By anyone: adds to the escrow, which is the owner's.
    function topUp(uint256 id, uint128 amount) external;
    /// @notice Sends the caller everything it may claim.
    function withdraw(address to) external returns (uint256 amount);
    /// @notice keccak256(abi.encode(reporter, leafHashA, leafHashB, salt)), in a block before the report (MARKET rule 7).
    function commitEvidence(bytes32 commitment) external;
    /// @notice Two leaves for one place, both signed by the lessee: its bond is lost (MARKET rule 7).
    function reportEquivocation(Checkpoint calldata a, bytes calldata signatureA, Checkpoint calldata b, bytes calldata signatureB, bytes32 salt) external;

    function deployment(uint256 id) external view returns (Deployment memory);
    function leaseOf(uint256 id) external view returns (Phase phase, address node, bytes32 epoch);
    function deploymentCount() external view returns (uint256);
    function coverage(address node) external view returns (Coverage memory);
    function due(uint256 id) external view returns (uint256 amount);
    function claimable(address account) external view returns (uint256);
    function minimumPayment(Terms calldata terms) external view returns (uint256);
    function leafHash(Checkpoint calldata leaf) external pure returns (bytes32);
    function domainSeparator() external view returns (bytes32);
}
