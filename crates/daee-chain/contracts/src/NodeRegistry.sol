// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {SafeERC20, IERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";

/// @title Stake and capacity of execution nodes
/// @notice Invariant: the contract holds the sum of all stakes and unbonding stakes, to the wei; for each node
/// locked = bonds of its leases and standing best bids + its tails <= stake, and used capacity is that of the same
/// leases and bids.
/// @dev Immutable (MARKET rule 18). Only `register` can be paused; every way out stays open. Nothing is slashed but
/// bonds, which stay locked until their tail is over (rule 6); a registration is for good, so a node that left can
/// not come back with a clean record under the same operator.
contract NodeRegistry is INodeRegistry, Pausable, EIP712 {
    using SafeERC20 for IERC20;

    bytes32 private constant REGISTER = keccak256("Register(address operator,address owner)");
    uint256 private constant TAILS_PER_CALL = 32;

    ERC20Burnable public immutable token;
    address public immutable deployer;
    address public immutable pauser;
    uint128 public immutable minStake;
    uint32 public immutable unbondTime; // seconds; longer than the tail, so that evidence still finds the stake
    uint32 public immutable tail; // seconds that a bond stays locked after its lease (MARKET rule 6)
    uint32 public immutable anchorIntervalMin;

    /// @notice Set once, right after the manager is deployed, then fixed for good.
    address public manager;

    /// Tails in the order in which they end, which is the order in which they began.
    struct Queue {
        uint64 head;
        uint64 end;
        mapping(uint64 => bytes32) epochs;
        mapping(bytes32 epoch => Bond) bonds;
    }

    struct Bond {
        uint128 amount;
        uint64 until;
    }

    mapping(address => Node) private _nodes;
    mapping(address => Queue) private _tails;
    address[] private _operators;

    constructor(ERC20Burnable token_, address pauser_, uint128 minStake_, uint32 unbondTime_, uint32 tail_, uint32 anchorIntervalMin_) EIP712("DAEE", "1") {
        require(unbondTime_ > tail_ && anchorIntervalMin_ > 0, BadInterval(unbondTime_));
        (token, pauser, minStake) = (token_, pauser_, minStake_);
        (unbondTime, tail, anchorIntervalMin) = (unbondTime_, tail_, anchorIntervalMin_);
        deployer = msg.sender;
    }

    function setManager(address manager_) external {
        require(msg.sender == deployer, NotOwner(msg.sender));
        require(manager == address(0), ManagerAlreadySet());
        manager = manager_;
        emit ManagerSet(manager_);
    }

    // ---- owners and operators ----------------------------------------------------------------------

    /// @inheritdoc INodeRegistry
    function register(address operator, uint32 cpuMilli, uint32 memMiB, uint16 gpu, uint32 anchorInterval, string calldata endpoint, uint128 amount, bytes calldata operatorConsent)
        external
        whenNotPaused
    {
        Node storage n = _nodes[operator];
        require(n.owner == address(0), AlreadyRegistered(operator));
        require(operator != address(0), ConsentMissing(operator));
        require(anchorInterval >= anchorIntervalMin && anchorInterval <= 1 days, BadInterval(anchorInterval));
        require(amount >= minStake, StakeBelowMinimum(amount, minStake));
        // Without the operator's word anybody could claim its account as the node they are paid for.
        if (operator != msg.sender) {
            bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(REGISTER, operator, msg.sender)));
            (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, operatorConsent);
            require(failure == ECDSA.RecoverError.NoError && signer == operator, ConsentMissing(operator));
        }
        n.owner = msg.sender;
        (n.cpuMilli, n.memMiB, n.gpu, n.anchorInterval) = (cpuMilli, memMiB, gpu, anchorInterval);
        n.endpoint = endpoint;
        _operators.push(operator);
        emit Registered(operator, msg.sender, cpuMilli, memMiB, gpu, anchorInterval, endpoint);
        _stake(operator, n, amount);
    }

    function setEndpoint(string calldata endpoint) external {
        _known(msg.sender).endpoint = endpoint;
        emit EndpointSet(msg.sender, endpoint);
    }

    function stake(address operator, uint128 amount) external {
        _stake(operator, _known(operator), amount);
    }

    /// @inheritdoc INodeRegistry
    function unstake(address operator, uint128 amount) external {
        releaseTails(operator);
        Node storage n = _owned(operator);
        require(n.stake - n.locked >= amount, StakeLocked(n.stake - n.locked, amount));
        n.stake -= amount;
        n.unbonding += amount;
        n.unbondAt = uint64(block.timestamp) + unbondTime;
        emit Unbonding(operator, amount, n.unbondAt);
    }

    function withdrawStake(address operator) external {
        Node storage n = _owned(operator);
        require(n.unbonding > 0 && block.timestamp >= n.unbondAt, NotReady(n.unbondAt));
        uint128 amount = n.unbonding;
        n.unbonding = 0;
        emit Unstaked(operator, amount);
        IERC20(token).safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc INodeRegistry
    /// @dev At most 32 a call, so that it fits into a block however many there are.
    function releaseTails(address operator) public {
        Node storage n = _nodes[operator];
        Queue storage q = _tails[operator];
        (uint64 head, uint64 end, uint128 freed) = (q.head, q.end, 0);
        for (uint256 i = 0; i < TAILS_PER_CALL && head < end; i++) {
            bytes32 epoch = q.epochs[head];
            if (q.bonds[epoch].until > block.timestamp) break;
            freed += q.bonds[epoch].amount;
            delete q.bonds[epoch];
            delete q.epochs[head++];
        }
        if (head == q.head) return;
        q.head = head;
        n.locked -= freed;
    }

    // ---- the manager -------------------------------------------------------------------------------

    modifier onlyManager() {
        require(msg.sender == manager, NotManager(msg.sender));
        _;
    }

    /// @inheritdoc INodeRegistry
    function reserve(address operator, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external onlyManager returns (uint32) {
        Node storage n = _known(operator);
        if (n.stake - n.locked < bond) releaseTails(operator);
        require(n.stake >= minStake, StakeBelowMinimum(n.stake, minStake));
        require(n.stake - n.locked >= bond, StakeLocked(n.stake - n.locked, bond));
        require(n.cpuMilli - n.cpuUsed >= cpuMilli, NoCapacity("cpu", n.cpuMilli - n.cpuUsed, cpuMilli));
        require(n.memMiB - n.memUsed >= memMiB, NoCapacity("memory", n.memMiB - n.memUsed, memMiB));
        require(n.gpu - n.gpuUsed >= gpu, NoCapacity("gpu", n.gpu - n.gpuUsed, gpu));
        n.locked += bond;
        n.cpuUsed += cpuMilli;
        n.memUsed += memMiB;
        n.gpuUsed += gpu;
        return n.anchorInterval;
    }

    /// @inheritdoc INodeRegistry
    function release(address operator, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external onlyManager {
        Node storage n = _nodes[operator];
        n.locked -= bond;
        _freeCapacity(n, cpuMilli, memMiB, gpu);
    }

    /// @inheritdoc INodeRegistry
    function endLease(address operator, bytes32 epoch, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external onlyManager {
        _freeCapacity(_nodes[operator], cpuMilli, memMiB, gpu);
        Queue storage q = _tails[operator];
        q.epochs[q.end++] = epoch;
        q.bonds[epoch] = Bond(bond, uint64(block.timestamp) + tail);
    }

    /// @inheritdoc INodeRegistry
    function slash(address operator, bytes32 epoch, uint128 amount, address reporter, uint128 reward) external onlyManager returns (uint128 slashed) {
        Bond storage bond = _tails[operator].bonds[epoch];
        slashed = amount < bond.amount ? amount : bond.amount;
        if (slashed == 0) return 0;
        // More would make it worth a node's while to report itself (MARKET rule 7).
        if (reward > slashed / 10) reward = slashed / 10;
        bond.amount -= slashed;
        Node storage n = _nodes[operator];
        n.locked -= slashed;
        n.stake -= slashed;
        emit Slashed(operator, epoch, slashed, slashed - reward);
        if (reward > 0) IERC20(token).safeTransfer(reporter, reward);
        token.burn(slashed - reward);
    }

    // ---- views and switches ------------------------------------------------------------------------

    function node(address operator) external view returns (Node memory) {
        return _nodes[operator];
    }

    function tails(address operator) external view returns (Tail[] memory list) {
        Queue storage q = _tails[operator];
        list = new Tail[](q.end - q.head);
        for (uint64 i = q.head; i < q.end; i++) {
            Bond storage bond = q.bonds[q.epochs[i]];
            list[i - q.head] = Tail(q.epochs[i], bond.amount, bond.until);
        }
    }

    function ownerOf(address operator) external view returns (address) {
        return _nodes[operator].owner;
    }

    function anchorIntervalOf(address operator) external view returns (uint32) {
        return _nodes[operator].anchorInterval;
    }

    function operators(uint256 from, uint256 count) external view returns (address[] memory page) {
        uint256 left = from < _operators.length ? _operators.length - from : 0;
        page = new address[](count < left ? count : left);
        for (uint256 i = 0; i < page.length; i++) page[i] = _operators[from + i];
    }

    function pause(bool on) external {
        require(msg.sender == pauser, NotOwner(msg.sender));
        on ? _pause() : _unpause();
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _stake(address operator, Node storage n, uint128 amount) private {
        n.stake += amount;
        emit Staked(operator, amount);
        uint256 before = token.balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        // A token that keeps a part of each transfer would leave the last one out short.
        require(token.balanceOf(address(this)) - before == amount, StakeBelowMinimum(token.balanceOf(address(this)) - before, amount));
    }

    function _freeCapacity(Node storage n, uint32 cpuMilli, uint32 memMiB, uint16 gpu) private {
        n.cpuUsed -= cpuMilli;
        n.memUsed -= memMiB;
        n.gpuUsed -= gpu;
    }

    function _known(address operator) private view returns (Node storage n) {
        n = _nodes[operator];
        require(n.owner != address(0), NotRegistered(operator));
    }

    function _owned(address operator) private view returns (Node storage n) {
        n = _known(operator);
        require(n.owner == msg.sender, NotOwner(msg.sender));
    }
}
