// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

/// @title Who runs nodes, with what stake, on what machine
/// @notice A node is known by its operator account (hot key: bids, anchors). Its stake belongs to the owner (cold key).
interface INodeRegistry {
    struct Node {
        address owner; // who staked and who is paid
        uint128 stake; // free + locked, wei
        uint128 locked; // bonds of standing best bids, of live leases and of tails
        uint128 unbonding; // leaves at unbondAt
        uint64 unbondAt;
        uint32 cpuMilli; // declared capacity
        uint32 memMiB;
        uint16 gpu;
        uint32 cpuUsed; // reserved by standing best bids and leases
        uint32 memUsed;
        uint16 gpuUsed;
        uint32 anchorInterval; // seconds between anchors, at most; one anchor credits no more
        string endpoint; // base URL of the node's API
    }

    /// The bond of a lease that ended, still there for evidence (MARKET rule 6).
    struct Tail {
        bytes32 epoch;
        uint128 amount;
        uint64 until;
    }

    event Registered(address indexed operator, address indexed owner, uint32 cpuMilli, uint32 memMiB, uint16 gpu, uint32 anchorInterval, string endpoint);
    event Staked(address indexed operator, uint256 amount);
    event Unbonding(address indexed operator, uint256 amount, uint64 readyAt);
    event Unstaked(address indexed operator, uint256 amount);
    event Slashed(address indexed operator, bytes32 indexed epoch, uint256 amount, uint256 burned);
    event EndpointSet(address indexed operator, string endpoint);
    event ManagerSet(address manager);

    error NotRegistered(address operator);
    error AlreadyRegistered(address operator);
    error NotOwner(address caller);
    error NotManager(address caller);
    error StakeBelowMinimum(uint256 stake, uint256 minimum);
    error StakeLocked(uint256 free, uint256 wanted);
    error NoCapacity(string resource, uint256 free, uint256 wanted);
    error NotReady(uint64 readyAt);
    error ManagerAlreadySet();
    error ConsentMissing(address operator);
    error BadInterval(uint32 interval);

    /// @notice Called by the owner; `operatorConsent` is the operator's EIP-712 signature over Register(operator, owner),
    /// and may be empty where both are one.
    function register(address operator, uint32 cpuMilli, uint32 memMiB, uint16 gpu, uint32 anchorInterval, string calldata endpoint, uint128 amount, bytes calldata operatorConsent) external;
    /// @notice By the operator: where its API is from now on.
    function setEndpoint(string calldata endpoint) external;
    /// @notice By anyone, as a gift to the owner.
    function stake(address operator, uint128 amount) external;
    /// @notice By the owner: begins unbonding of what no bond holds; each call restarts the time for all of it.
    function unstake(address operator, uint128 amount) external;
    /// @notice By the owner, once unbonding is over.
    function withdrawStake(address operator) external;
    /// @notice By anyone: frees the bonds whose tail is over (MARKET rule 6).
    function releaseTails(address operator) external;

    // The manager's calls.

    /// @notice Locks a bond and sets capacity aside for a best bid.
    function reserve(address operator, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external returns (uint32 anchorInterval);
    /// @notice Undoes `reserve` for a bid that was beaten or dropped: nothing ran, so no tail.
    function release(address operator, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external;
    /// @notice Frees the capacity of a lease that ended; its bond becomes a tail (MARKET rule 6).
    function endLease(address operator, bytes32 epoch, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external;
    /// @notice Takes up to `amount` from the tail of `epoch`: `reward` of it, at most a tenth, to the reporter, the rest
    /// burned (MARKET rule 7).
    function slash(address operator, bytes32 epoch, uint128 amount, address reporter, uint128 reward) external returns (uint128 slashed);

    function ownerOf(address operator) external view returns (address);
    function anchorIntervalOf(address operator) external view returns (uint32);
    function tails(address operator) external view returns (Tail[] memory);
    function node(address operator) external view returns (Node memory);
    function operators(uint256 from, uint256 count) external view returns (address[] memory);
}
