// Verifies a published log with golang.org/x/mod alone: no code of this project.
//
//	go run verify.go VERIFIER_KEY FOLDER|URL [COSIGNER_KEY ...]
//
// Checks the log's signature on the checkpoint, every tile against its root, every entry against its
// tile, an inclusion and a consistency proof, and the cosignatures of the keys given (C2SP
// tlog-cosignature, type 4). A URL is the prefix under which /checkpoint and /tile/ are served; set
// VERIFY_CA to a PEM file to trust a node's own certificate.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "NOT VERIFIED:", err)
		os.Exit(1)
	}
}

// source reads the files of a log.
type source struct {
	prefix string
	client *http.Client
	// tiles that were read: every entry asks for its own again
	tiles map[string][]byte
}

// A node counts the requests of an address and says when the next may come.
const (
	retries = 20
	longest = 5 * time.Minute
)

func (s *source) read(name string) ([]byte, error) {
	if s.client == nil {
		return os.ReadFile(filepath.Join(s.prefix, name))
	}
	for attempt := 0; ; attempt++ {
		answer, err := s.client.Get(strings.TrimSuffix(s.prefix, "/") + "/" + name)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode == 200 {
			return data, err
		}
		busy := answer.StatusCode == 429 || answer.StatusCode == 503
		if !busy || attempt == retries {
			return nil, fmt.Errorf("%s: %s", name, answer.Status)
		}
		pause := time.Second
		if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); err == nil && seconds > 0 {
			pause = time.Duration(seconds) * time.Second
		}
		if pause > longest {
			return nil, fmt.Errorf("%s: %s, and not before %s", name, answer.Status, pause)
		}
		time.Sleep(pause)
	}
}

// name is a tile's in C2SP tlog-tiles, where the height is always 8 and not said.
func name(tile tlog.Tile) string {
	return strings.Replace(tile.Path(), "tile/8/", "tile/", 1)
}

func (s *source) Height() int { return 8 }

func (s *source) SaveTiles([]tlog.Tile, [][]byte) {}

func (s *source) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		bytes, known := s.tiles[name(tile)]
		if !known {
			var err error
			if bytes, err = s.read(name(tile)); err != nil {
				return nil, err
			}
			s.tiles[name(tile)] = bytes
		}
		data = append(data, bytes)
	}
	return data, nil
}

func (s *source) entries(size int64) ([][]byte, error) {
	var entries [][]byte
	for bundle := int64(0); bundle*256 < size; bundle++ {
		width := size - bundle*256
		if width > 256 {
			width = 256
		}
		tile := tlog.Tile{H: 8, L: 0, N: bundle, W: int(width)}
		data, err := s.read(strings.Replace(name(tile), "tile/0/", "tile/entries/", 1))
		if err != nil {
			return nil, err
		}
		for len(data) > 0 {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("bundle %d is cut short", bundle)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			entries = append(entries, data[2:end])
			data = data[end:]
		}
	}
	if int64(len(entries)) != size {
		return nil, fmt.Errorf("%d entries, the checkpoint says %d", len(entries), size)
	}
	return entries, nil
}

// cosigner verifies type 4: x/mod's note package knows type 1 only.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c *cosigner) Name() string    { return c.name }
func (c *cosigner) KeyHash() uint32 { return c.hash }

func (c *cosigner) Verify(text, signature []byte) bool {
	if len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(signature)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, text)
	return ed25519.Verify(c.key, []byte(message), signature[8:])
}

func newCosigner(text string) (*cosigner, error) {
	parts := strings.SplitN(text, "+", 3)
	if len(parts) != 3 {
		return nil, fmt.Errorf("%q is no verifier key", text)
	}
	key, err := base64.StdEncoding.DecodeString(parts[2])
	if err != nil || len(key) != 33 || key[0] != 4 {
		return nil, fmt.Errorf("%q is no key of a witness (type 4)", text)
	}
	sum := sha256.Sum256(append([]byte(parts[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(sum[:])
	if stated, err := strconv.ParseUint(parts[1], 16, 32); err != nil || uint32(stated) != hash {
		return nil, fmt.Errorf("the id of %q is not its key's", text)
	}
	return &cosigner{parts[0], hash, key[1:]}, nil
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: verify VERIFIER_KEY FOLDER|URL [COSIGNER_KEY ...]")
		os.Exit(2)
	}
	log, err := note.NewVerifier(os.Args[1])
	check(err)
	files := &source{prefix: os.Args[2], tiles: map[string][]byte{}}
	if strings.HasPrefix(os.Args[2], "http") {
		files.client = http.DefaultClient
		if ca := os.Getenv("VERIFY_CA"); ca != "" {
			pem, err := os.ReadFile(ca)
			check(err)
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM(pem)
			config := &tls.Config{RootCAs: pool}
			files.client = &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
		}
	}
	verifiers := []note.Verifier{log}
	for _, key := range os.Args[3:] {
		cosigner, err := newCosigner(key)
		check(err)
		verifiers = append(verifiers, cosigner)
	}
	signed, err := files.read("checkpoint")
	check(err)
	checkpoint, err := note.Open(signed, note.VerifierList(verifiers...))
	check(err)
	lines := strings.Split(checkpoint.Text, "\n")
	if len(lines) != 4 || lines[0] != log.Name() {
		check(fmt.Errorf("the checkpoint is of %q, or has extension lines", lines[0]))
	}
	byLog := false
	for _, signature := range checkpoint.Sigs {
		byLog = byLog || signature.Name == log.Name()
	}
	if !byLog {
		check(fmt.Errorf("the log itself has not signed"))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	check(err)
	root, err := tlog.ParseHash(lines[2])
	check(err)

	reader := tlog.TileHashReader(tlog.Tree{N: size, Hash: root}, files)
	computed, err := tlog.TreeHash(size, reader)
	check(err)
	if !bytes.Equal(computed[:], root[:]) {
		check(fmt.Errorf("the tiles lead to another root"))
	}
	entries, err := files.entries(size)
	check(err)
	for index, entry := range entries {
		stored, err := reader.ReadHashes([]int64{tlog.StoredHashIndex(0, int64(index))})
		check(err)
		if stored[0] != tlog.RecordHash(entry) {
			check(fmt.Errorf("entry %d is not what its tile says", index))
		}
	}
	middle := size / 2
	record, err := tlog.ProveRecord(size, middle, reader)
	check(err)
	check(tlog.CheckRecord(record, size, root, middle, tlog.RecordHash(entries[middle])))
	if middle > 0 {
		old, err := tlog.TreeHash(middle, reader)
		check(err)
		tree, err := tlog.ProveTree(size, middle, reader)
		check(err)
		check(tlog.CheckTree(tree, size, root, middle, old))
	}
	fmt.Printf("verified: %s, %d entries, root %s, signed by", lines[0], size, lines[2])
	for _, signature := range checkpoint.Sigs {
		fmt.Printf(" %s", signature.Name)
	}
	fmt.Printf("; %d signatures by keys not given\n", len(checkpoint.UnverifiedSigs))
}
