// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {SafeERC20, IERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";

/// @title Stake and capacity of execution nodes
/// @notice Invariant: the contract holds exactly the sum of all stakes and unbonding stakes, and for each node
/// locked = bonds of its leases and standing best bids + its tails <= stake.
/// @dev Immutable (MARKET rule 18). Only `register` can be paused; every way out stays open.
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

    mapping(address => Node) private _nodes;
    mapping(address => Tail[]) private _tails;
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
        require(anchorInterval >= anchorIntervalMin && anchorInterval <= 1 days, BadInterval(anchorInterval));
        require(amount >= minStake, StakeBelowMinimum(amount, minStake));
        // Without the operator's word anybody could claim its account as the node they are paid for.
        if (operator != msg.sender) {
            bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(REGISTER, operator, msg.sender)));
            require(ECDSA.recover(digest, operatorConsent) == operator, ConsentMissing(operator));
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

    /// @notice Frees bonds of leases that ended more than `tail` ago, at most 32 a call.
    function releaseTails(address operator) public {
        Node storage n = _nodes[operator];
        Tail[] storage list = _tails[operator];
        uint256 i = 0;
        for (uint256 looked = 0; looked < TAILS_PER_CALL && i < list.length; looked++) {
            if (list[i].until > block.timestamp) {
                i++;
                continue;
            }
            n.locked -= list[i].amount;
            list[i] = list[list.length - 1];
            list.pop();
        }
    }

    // ---- the manager -------------------------------------------------------------------------------

    modifier onlyManager() {
        require(msg.sender == manager, NotManager(msg.sender));
        _;
    }

    /// @notice Locks a bond and sets capacity aside for a best bid.
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

    /// @notice Undoes `reserve` for a bid that was beaten or withdrawn: nothing ran, so no tail.
    function release(address operator, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external onlyManager {
        Node storage n = _nodes[operator];
        n.locked -= bond;
        _freeCapacity(n, cpuMilli, memMiB, gpu);
    }

    /// @notice Frees the capacity of a lease that ended; its bond becomes a tail.
    function endLease(address operator, bytes32 epoch, uint128 bond, uint32 cpuMilli, uint32 memMiB, uint16 gpu) external onlyManager {
        _freeCapacity(_nodes[operator], cpuMilli, memMiB, gpu);
        _tails[operator].push(Tail(epoch, bond, uint64(block.timestamp) + tail));
    }

    /// @notice Takes up to `amount` from the tail of `epoch`: `reward` of it to the reporter, the rest burned.
    function slash(address operator, bytes32 epoch, uint128 amount, address reporter, uint128 reward) external onlyManager returns (uint128 slashed) {
        Tail[] storage list = _tails[operator];
        for (uint256 i = 0; i < list.length; i++) {
            if (list[i].epoch != epoch) continue;
            slashed = amount < list[i].amount ? amount : list[i].amount;
            list[i].amount -= slashed;
            Node storage n = _nodes[operator];
            n.locked -= slashed;
            n.stake -= slashed;
            if (reward > slashed) reward = slashed;
            emit Slashed(operator, epoch, slashed, slashed - reward);
            if (reward > 0) IERC20(token).safeTransfer(reporter, reward);
            token.burn(slashed - reward);
            break;
        }
    }

    // ---- views and switches ------------------------------------------------------------------------

    function node(address operator) external view returns (Node memory) {
        return _nodes[operator];
    }

    function tails(address operator) external view returns (Tail[] memory) {
        return _tails[operator];
    }

    function ownerOf(address operator) external view returns (address) {
        return _nodes[operator].owner;
    }

    function anchorIntervalOf(address operator) external view returns (uint32) {
        return _nodes[operator].anchorInterval;
    }

    function operators(uint256 from, uint256 count) external view returns (address[] memory page) {
        uint256 end = from + count > _operators.length ? _operators.length : from + count;
        page = new address[](end > from ? end - from : 0);
        for (uint256 i = from; i < end; i++) page[i - from] = _operators[i];
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
